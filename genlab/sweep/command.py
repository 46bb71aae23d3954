"""From a command line to a finished sweep: checks first, then work, then a summary. Exit codes: 0, 1 (the sweep
failed), 2 (refused before anything was trained), 130 (Ctrl-C)."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from genlab.data import kind_of
from genlab.errors import CorruptFile, GenlabError, calling, last_line, told
from genlab.lanes.loading import Elsewhere, pickled
from genlab.screen import escaped, forgive
from genlab.sweep import plan as planning
from genlab.sweep.environment import environment
from genlab.sweep.options import LATEST, Options, parse, recorded
from genlab.sweep.plan import Plan
from genlab.sweep.preview import describe
from genlab.sweep.source import changed
from genlab.sweep.sweep import Sweep
from genlab.tasks.fields import as_dict
from genlab.tracking import address
from genlab.tracking.claims import Heartbeat
from genlab.tracking.manifest import FORMAT, Identity, Manifest
from genlab.tracking.records import Records
from genlab.tracking.storage import Storage

ONE_SIGNAL = 1.0  # seconds in which a signal that comes again is the same one


def main(sweep: Sweep, arguments: Sequence[str] | None = None) -> None:
    """What a sweep script ends with: run `sweep` as the command line says, and exit.

    A notebook has no command line: there it runs as `arguments` say, and returns.

    Args:
        arguments: the words of a command line, as in `main(SWEEP, ["--trials", "4"])`; None for those that the script
            was called with, which are none in a notebook.

    Raises:
        GenlabError: in a notebook alone: the sweep was refused, was stopped, or has no trial that ran to its end.
    """
    script = getattr(sys.modules["__main__"], "__file__", None)
    if script is None:
        _in_a_notebook(sweep, arguments or ())
        return
    signal.signal(signal.SIGTERM, _interrupt)
    forgive(f"{sweep.name}: standard output cannot be written any more; the sweep goes on, and its records tell of it")
    try:
        code = execute(sweep, _options(sweep, arguments), script)
    except (GenlabError, ValueError) as error:
        if isinstance(error, ValueError) and not str(error).startswith("--"):
            raise
        print(f"{sweep.name}: {escaped(str(error))}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print(f"{sweep.name}: interrupted before anything was trained", file=sys.stderr)
        code = 130
    sys.stdout.flush()
    sys.exit(code)


def _options(sweep: Sweep, arguments: Sequence[str] | None) -> Options:
    """What a command line says, by default that of this process."""
    about = f"The sweep {sweep.name!r}: {sweep.metric}, {sweep.mode}, best of {sweep.trials} trials."
    return parse(about, arguments)


def _in_a_notebook(sweep: Sweep, arguments: Sequence[str]) -> None:
    """`main` where an exit would look like success, or take the session along."""
    if isinstance(arguments, str):
        raise GenlabError(f"write the arguments as words: main(SWEEP, {arguments.split()!r})")
    try:
        options = _options(sweep, [str(word) for word in arguments])
    except SystemExit as end:  # the words were refused, or help was asked for: both are printed
        if end.code:
            raise GenlabError(f"{list(arguments)!r} are no arguments of a sweep: the lines above say why") from None
        return
    if code := execute(sweep, options, None):
        ended = "was interrupted" if code == 130 else "was refused" if code == 2 else "failed"
        raise GenlabError(f"the sweep {sweep.name!r} {ended}: the lines above say why")


def _interrupt(number: int, frame: object) -> NoReturn:
    """SIGTERM is what Ctrl-C is, once: `timeout` and `uv run` both send it."""
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def execute(sweep: Sweep, options: Options, script: str | None) -> int:
    """Run it; the exit code.

    Raises:
        GenlabError: it was refused before anything was trained.
    """
    storage = Storage(options.storage)
    earlier = resumed(sweep, options, storage) if options.resume else None
    given = options.given()
    if earlier is None and (named := address.named(options.tracking_uri)):
        given["tracking_uri"] = named
    given = {**(_recorded(earlier) if earlier else {}), **given}
    with _which(sweep, options, storage, earlier):
        plan = planning.make(sweep, given, script)
        if earlier is not None:
            _check_same(earlier, plan, options.accept_code)
    storage.check_writable()
    before = earlier.options().get("tracking_uri") if earlier else given.get("tracking_uri")
    tracking_uri = address.chosen(storage, options.tracking_uri, str(before) if before else None)
    tried = _try_elsewhere(plan, storage, options.dry_run)
    try:
        if options.debug:
            from genlab.sweep.debug import debug

            return debug(plan, storage, tried)
        return _on_ray(plan, options, storage, tracking_uri, earlier, tried, script)
    finally:
        if tried is not None:
            tried.stop()


def _try_elsewhere(plan: Plan, storage: Storage, step: bool) -> Elsewhere | None:
    """A process that loads the task as a lane will, and for a dry run does a step; while Ray starts.

    None where nothing could be found: a task of genlab's own, and no step.
    """
    if plan.task is None and not step:
        return None
    order = {
        "step": step,
        "config": planning.as_json(as_dict(plan.first())),
        "metric": plan.sweep.metric,
        "replicas": plan.seeds,
        "storage": storage.url,
        "script": plan.script,
        "script_digest": plan.script_digest(),
        "data_root": plan.options.get("data_root"),
        "gpus": plan.options.get("gpus_per_worker"),
        "epoch_deadline": plan.sweep.epoch_deadline,
    }
    return Elsewhere(pickled(plan.kind, plan.task), order)


def _on_ray(
    plan: Plan,
    options: Options,
    storage: Storage,
    tracking_uri: str,
    earlier: Records | None,
    tried: Elsewhere | None,
    script: str | None,
) -> int:
    """Run the plan on a Ray, or describe it; the exit code."""
    from genlab.lanes.cluster import check_storage, connect, room

    own_ray = connect(options.address)
    storage = Storage(storage.url, patient=True)
    try:
        check_storage(options.storage)
        shares = [plan.options.get(name) for name in ("lanes", "cpus_per_worker", "gpus_per_worker")]
        space = room(plan.workers, plan.trials, *shares)
        found = tried.answer() if tried is not None else {}
        if options.dry_run:
            if earlier is not None:
                print(_going_on(plan, earlier, storage))
            describe(plan, storage, space, found)
            return 0
        records = earlier or Records.create(storage, manifest(plan, script))
        heartbeat = Heartbeat(records.storage)
        refused = True
        try:
            news: dict[str, Any] | None = None
            if earlier is not None:  # another driver may have been at work until just now
                records = Records.open(storage, earlier.name)
                news = _check_same(records, plan, options.accept_code)
                before = records.options()
                if new := {name: it for name, it in _kept(options.given()).items() if before.get(name) != it}:
                    news["options"] = new
                if options.retry_failed:
                    failed = [trial.name for trial in records.trials.values() if trial.ends == "failed"]
                    if failed:
                        news["retry"] = failed
                    else:
                        print("--retry-failed: no trial has failed")
            code = _run(plan, records, storage, tracking_uri, space, script, news, heartbeat)
            refused = False
            return code
        finally:
            with contextlib.suppress(GenlabError):
                heartbeat.stop()
                if refused and earlier is None and records.data() is None:
                    storage.clear(records.name)  # or --resume would take it for the latest
    finally:
        if own_ray:
            _leave_ray()


def resumed(sweep: Sweep, options: Options, storage: Storage) -> Records:
    """The records that `--resume` goes on with: the named ones, or the latest of a sweep of this name.

    Raises:
        GenlabError: there are none.
    """
    name = options.resume or LATEST
    if name == LATEST:
        own = _of_name(sweep, storage)
        if not own:
            raise GenlabError(
                f"there is no sweep {sweep.name!r} in {storage.url} to resume: start one without --resume"
            )
        name = own[-1]
    return Records.open(storage, name)


def _recorded(records: Records) -> dict[str, Any]:
    """The options that the records name.

    Raises:
        CorruptFile: they are none that a command line could give.
    """
    try:
        return recorded(records.options())
    except ValueError as error:
        raise CorruptFile(f"the options in the records of {records.storage.url} are damaged: {error}") from None


@contextlib.contextmanager
def _which(sweep: Sweep, options: Options, storage: Storage, earlier: Records | None) -> Iterator[None]:
    """Say in a refusal which sweep a bare `--resume` took, if another one may have been meant. A reproduction of the
    best trial has the sweep's own name, and is later."""
    try:
        yield
    except GenlabError as error:
        others = len(_of_name(sweep, storage)) - 1
        if earlier is None or options.resume != LATEST or others < 1:
            raise
        raise GenlabError(
            f"{error}. This is of {earlier.name}, the latest of {others + 1} sweeps of this name: --resume NAME takes "
            "another"
        ) from None


def _of_name(sweep: Sweep, storage: Storage) -> list[str]:
    """The folders of the sweeps of this name, the latest last."""
    pattern = re.compile(re.escape(sweep.name) + r"-\d{8}-\d{6}(-\d+)?")
    return [one for one in Records.sweeps(storage) if pattern.fullmatch(one)]


def _check_same(records: Records, plan: Plan, accept_code: bool) -> dict[str, Any]:
    """What the sweep's trials follow from is what it was, but for code that is accepted: digests of that, if any.

    Raises:
        GenlabError: naming what differs.
    """
    before, now = records.manifest.identity, plan.identity()
    for key in (name for name in Identity.__struct_fields__ if name != "code"):
        if difference := _difference(getattr(before, key), getattr(now, key)):
            raise GenlabError(
                f"{records.name} cannot be resumed with another {key}: {difference}. What a trial's result follows "
                "from stays the same; start a new sweep instead."
            )
    for trial in records.trials.values():
        for field, kept in trial.distributions.items():
            if now.space.get(field) != kept:
                raise CorruptFile(
                    f"the records of {records.name} are damaged: {field} of trial {trial.name} was drawn from no "
                    "distribution of the sweep"
                )
    known = sum(not trial.confirms for trial in records.trials.values())
    if plan.asked < known:
        raise GenlabError(f"{records.name} has {known} trials already: --trials {plan.asked} would take some away")
    different = changed(records.code(), now.code)
    if different and not accept_code:
        raise GenlabError(
            f"the code of {', '.join(different)} is not that with which {records.name} trained: its trials would not "
            "compare. Start a new sweep, or go on with the new code by --resume --accept-code: the records will say so"
        )
    return {"code": now.code, "changed": different} if different else {}


def _difference(before: Any, now: Any) -> str:
    """What was before and is now, of fields by name those that differ; empty where nothing does. A folder of images may
    lie elsewhere now: whether the images are the same is seen when they are read."""
    if isinstance(before, dict) and isinstance(now, dict):
        names = [name for name in {**before, **now} if _what(before.get(name)) != _what(now.get(name))]
        return ", ".join(f"{name} was {before.get(name)}, now it is {now.get(name)}" for name in names)
    return "" if before == now else f"it began with {before}, now it is {now}"


def _what(setting: Any) -> Any:
    return kind_of(setting) if isinstance(setting, str) else setting


def _kept(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as the records keep them: without the password that a tracking server's address may hold."""
    kept = planning.as_json(dict(options))
    return kept | ({"tracking_uri": address.shown(kept["tracking_uri"])} if kept.get("tracking_uri") else {})


def manifest(plan: Plan, script: str | None) -> Manifest:
    """What a plan asks for, and on what it runs. `Records.create` gives it its name and time."""
    identity = plan.identity()
    return Manifest(
        format=FORMAT,
        name="",
        created=0.0,
        sweep=plan.sweep.name,
        task=str(plan.sweep.task) if plan.task is None else plan.task.__name__,
        metric=plan.sweep.metric,
        mode=plan.sweep.mode,  # type: ignore[arg-type]
        epochs=plan.epochs,
        images=plan.sweep.images,
        script=os.path.basename(script) if script else None,
        options=_kept(plan.options),
        identity=identity,
        environment=environment(script) | {"seed": str(identity.settings["seed"])},
    )


def _run(
    plan: Plan,
    records: Records,
    storage: Storage,
    tracking_uri: str,
    space: Any,
    script: str | None,
    news: dict[str, Any] | None,
    heartbeat: Heartbeat,
) -> int:
    from genlab.sweep.driver import Driver, Stop
    from genlab.sweep.run import Run
    from genlab.sweep.summary import summarize
    from genlab.sweep.view import View
    from genlab.tracking.drain import Drain

    drain = Drain(records, tracking_uri)
    view = View(plan, records)
    run = Run(plan, records, storage, drain, view)
    heartbeat.lost = run.stop
    how = f"{space.lanes} lanes of {plan.workers} x {planning.describe_resources(space.resources)}"
    epochs = plan.epochs_in_words()
    if news is not None:
        view.say(_going_on(plan, records, storage))
    view.say(f"{records.name}: {plan.trials} trials of {epochs} epochs on {how}, records in {records.storage.url}")
    if fewer := plan.fewer_in_words():
        view.say(fewer)
    stopped: str | None = None
    with _signals(run), view.logs():
        with view:
            try:
                Driver(run).execute(space, plan.options.get("data_root"), news or {})
            except Stop as stop:
                stopped = str(stop)
            except GenlabError:
                drain.close()
                raise
            except Exception as error:  # of ours, or of Ray's: what was trained is summed up, MLflow's runs are closed
                print(escaped(traceback.format_exc()), file=sys.stderr)
                stopped = f"the driver failed: {last_line(told(error))}"
        if "GPU" not in space.resources:  # on a CPU the last bits follow from the number of threads
            plan = dataclasses.replace(plan, options={**plan.options, "cpus_per_worker": space.resources["CPU"]})
        return summarize(plan, records, storage, drain, view, stopped, tracking_uri, _called(script))


def _going_on(plan: Plan, records: Records, storage: Storage) -> str:
    """Which sweep is resumed, and of how many that it may be mistaken for."""
    others = len(_of_name(plan.sweep, storage)) - 1
    more = f"; {others} more of this name are in {storage.url}: --resume NAME takes another" if others > 0 else ""
    return f"resuming {records.name}, {len(records.trials)} trials so far{more}"


@contextlib.contextmanager
def _signals(run: Any) -> Any:
    """Ctrl-C and SIGTERM end the sweep in good order; a second one ends it at once. What comes within a second is the
    same one: `timeout` signals the whole group, and `uv run` in it passes its own on."""
    heard: list[float] = []

    def handler(number: int, frame: object) -> None:
        heard.append(time.monotonic())
        if heard[-1] - heard[0] > ONE_SIGNAL:
            os._exit(128 + number)
        run.stop("interrupted")

    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _leave_ray() -> None:
    import ray

    with contextlib.suppress(Exception):
        ray.shutdown()


def _called(script: str | None) -> str:
    """How the script is called from where the user is."""
    if script is None:
        return "main(SWEEP) with"  # as words of its arguments
    relative = os.path.relpath(script)
    return f"{calling('python ')}{shlex.quote(relative if len(relative) < len(script) else script)}"
