"""From a command line to a finished sweep: checks first, then work, then a summary. Exit codes: 0, 1 (the sweep
failed), 2 (refused before anything was trained), 130 (Ctrl-C)."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import sys
from typing import Any, NoReturn

from genlab.errors import GenlabError
from genlab.sweep import plan as planning
from genlab.sweep.environment import calling, environment
from genlab.sweep.options import LATEST, Options, parse
from genlab.sweep.plan import Plan
from genlab.sweep.sweep import Sweep
from genlab.sweep.worker import pickled
from genlab.tracking.records import Heartbeat, Records
from genlab.tracking.server import default_tracking_uri
from genlab.tracking.storage import Storage


def main(sweep: Sweep) -> NoReturn:
    """What a sweep script ends with: run `sweep` as the command line says, and exit."""
    script = getattr(sys.modules["__main__"], "__file__", None)
    try:
        options = parse(f"The sweep {sweep.name!r}: {sweep.metric}, {sweep.mode}, best of {sweep.trials} trials.")
        code = execute(sweep, options, script)
    except (GenlabError, ValueError) as error:
        if isinstance(error, ValueError) and not str(error).startswith("--"):
            raise
        print(f"{sweep.name}: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print(f"{sweep.name}: interrupted before anything was trained", file=sys.stderr)
        code = 130
    sys.stdout.flush()
    sys.exit(code)


def execute(sweep: Sweep, options: Options, script: str | None) -> int:
    """Run it; the exit code.

    Raises:
        GenlabError: it was refused before anything was trained.
    """
    storage = Storage(options.storage)
    earlier = resumed(sweep, options, storage) if options.resume else None
    given = {**(earlier.options() if earlier else {}), **options.given()}
    plan = planning.make(sweep, given, script)
    if earlier is not None:
        _check_same(earlier, plan)
    storage.check_writable()
    if options.dry_run:
        pickled(plan.kind, plan.task)
        _describe(plan, storage)
        return 0
    from genlab.sweep.cluster import connect, room

    own_ray = connect(options.address)
    try:
        shares = [given.get(name) for name in ("lanes", "cpus_per_worker", "gpus_per_worker")]
        space = room(plan.workers, plan.trials, *shares)
        records = earlier or Records.create(storage, sweep.name, _manifest(plan, script))
        heartbeat = Heartbeat(records.storage)
        refused = True
        try:
            if earlier is not None:  # another driver may have been at work until just now
                records = Records.open(storage, earlier.name)
                _check_same(records, plan)
            code = _run(plan, records, storage, space, script, options.given() if earlier is not None else {})
            refused = False
            return code
        finally:
            with contextlib.suppress(GenlabError):
                heartbeat.stop()
                if refused and earlier is None and records.data() is None:
                    records.storage.clear()  # or --resume would take it for the latest
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
        pattern = re.compile(re.escape(sweep.name) + r"-\d{8}-\d{6}(-\d+)?")
        own = [one for one in Records.sweeps(storage) if pattern.fullmatch(one)]
        if not own:
            raise GenlabError(
                f"there is no sweep {sweep.name!r} in {storage.url} to resume: start one without --resume"
            )
        name = own[-1]
    return Records.open(storage, name)


def _check_same(records: Records, plan: Plan) -> None:
    before, now = records.manifest["identity"], planning.as_json(plan.identity())
    for key in before:
        if before[key] != now.get(key):
            raise GenlabError(
                f"{records.name} cannot be resumed with another {key}: it began with {before[key]}, now it is "
                f"{now.get(key)}. What a trial's result follows from stays the same; start a new sweep instead."
            )
    known = sum(not trial.confirms for trial in records.trials.values())
    if plan.trials < known:
        raise GenlabError(f"{records.name} has {known} trials already: --trials {plan.trials} would take some away")


def _manifest(plan: Plan, script: str | None) -> dict[str, Any]:
    identity = planning.as_json(plan.identity())
    return {
        "sweep": plan.sweep.name,
        "metric": plan.sweep.metric,
        "mode": plan.sweep.mode,
        "epochs": plan.epochs,
        "script": os.path.basename(script) if script else None,
        "options": planning.as_json(dict(plan.options)),
        "identity": identity,
        "environment": environment(script) | {"seed": str(identity["settings"]["seed"])},
    }


def _run(
    plan: Plan, records: Records, storage: Storage, space: Any, script: str | None, new_options: dict[str, Any]
) -> int:
    from genlab.sweep.run import Run, Stop
    from genlab.sweep.summary import summarize
    from genlab.sweep.view import View
    from genlab.tracking.drain import Drain

    tracking_uri = plan.options.get("tracking_uri") or default_tracking_uri(storage)
    drain = Drain(records, tracking_uri)
    view = View(plan, records)
    run = Run(plan, records, storage, drain, view)
    how = f"{space.lanes} lanes of {plan.workers} x {planning.describe_resources(space.resources)}"
    epochs = plan.epochs_in_words()
    view.say(f"{records.name}: {plan.trials} trials of {epochs} epochs on {how}, records in {records.storage.url}")
    stopped: str | None = None
    with _signals(run):
        with view:
            try:
                run.execute(space, plan.options.get("data_root"), planning.as_json(new_options))
            except Stop as stop:
                stopped = str(stop)
            except GenlabError:
                drain.close()
                raise
        return summarize(plan, records, storage, drain, view, stopped, tracking_uri, _called(script))


@contextlib.contextmanager
def _signals(run: Any) -> Any:
    """Ctrl-C and SIGTERM end the sweep in good order; a second one ends it at once."""
    heard: list[int] = []

    def handler(number: int, frame: object) -> None:
        heard.append(number)
        if len(heard) > 1:
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
        return "<script>"
    relative = os.path.relpath(script)
    return f"{calling('python ')}{shlex.quote(relative if len(relative) < len(script) else script)}"


def _describe(plan: Plan, storage: Storage) -> None:
    from rich.table import Table

    from genlab.sweep.view import new_console

    console = new_console()
    config = plan.config(plan.default)
    table = Table(
        title=f"{plan.sweep.name}: {plan.trials} trials of at most {plan.epochs_in_words()} epochs",
        title_justify="left",
    )
    for column in ("field", "default setting", "searched over"):
        table.add_column(column)
    for name, value in planning.as_json(planning.as_dict(config)).items():
        table.add_row(name, str(value), str(plan.space.get(name, "")))
    console.print(table)
    for number, row in enumerate(plan.grid or []):
        console.print(f"trial {number}: {row}")
    console.print(
        f"judged by {plan.sweep.metric} ({plan.sweep.mode}), {plan.scheduler}, records in {storage.url}", soft_wrap=True
    )
