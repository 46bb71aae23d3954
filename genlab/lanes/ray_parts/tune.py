"""Parts of Ray Tune that a sweep replaces while it runs: what it would spend on each trial and a sweep has no use for.
Where a name is not there, Tune does as it does by itself, and each client has a process (`trainable`).

**All clients in one process.** Tune starts a process for each running trial. Here it goes on as ever: it makes what it
takes for a trial's actor, calls its methods and waits for what they return. But what it gets is a `Handle`, which holds
a trial's config and last result and passes both to one host with each call. So the host holds nothing: Ray starts it
again when it dies, repeats the calls that were under way, and no trial notices. Measured by
`benchmarks/many_trials.py` with 10 simulated lanes and epochs of a second, beside a process for each client: on two
idle cores 9.1 epochs a second against 8.4, and 285 MiB in Ray's processes against 1389; on busy ones 8.3 against 1.0,
since Tune starts processes that are done with before they are up. Of a single lane the first trial comes 1.6 s sooner
(`benchmarks/ray_parts.py`).

**No state of Tune's own.** Now and then, and at its end, Tune writes all that it knows of every trial as JSON, which
nobody reads. Of a sweep of two trials that was 0.8 and 3.6 s in two runs of `benchmarks/ray_parts.py`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import ray
from ray.actor import ActorClass

from genlab.lanes.calls import beside_driver
from genlab.lanes.client import Result, next_result
from genlab.lanes.ray_parts import names


class ClientHost:
    """The process: an actor in which each running trial's call waits for the mailbox. It holds nothing, not even that:
    Ray warns of what an actor that may be started again was made with."""

    async def train(self, mailbox: Any, begun: str, last: Result | None) -> Result:
        """A trial's next result."""
        return await next_result(mailbox, begun, last)


def _method(call: Callable[..., Any]) -> Any:
    """What is called by `.remote(...)`, as an actor's method is."""
    return SimpleNamespace(remote=call)


def _at_once(value: Any) -> Callable[..., Any]:
    """A call whose result is there already. Each has one of its own: Tune tells calls apart by them."""
    return lambda *_, **__: ray.put(value)


class Handle:
    """What Tune takes for the handle of a trial's actor."""

    def __init__(self, host: Any, mailbox: Any, config: dict[str, Any]) -> None:
        self._host, self._mailbox = host, mailbox
        self._begin(config)
        self.train = _method(self._train)
        self.reset = _method(self._reset)
        self.stop = _method(_at_once(None))
        self.get_auto_filled_metrics = _method(lambda **_: {})
        self.__ray_ready__ = _method(_at_once(True))
        self.__ray_terminate__ = _method(_at_once(None))

    def _begin(self, config: dict[str, Any]) -> None:
        self._begun, self._last = config["begun"], None

    def _train(self) -> Any:
        self._last = self._host.train.remote(self._mailbox, self._begun, self._last)
        return self._last

    def _reset(self, config: dict[str, Any], **_: Any) -> Any:
        self._begin(config)
        return ray.put(True)


class Handles(ActorClass):
    """What Tune takes for the class of a trial's actor: it checks the type, sets options, and makes one."""

    def __init__(self, host: Any, mailbox: Any) -> None:
        self._host, self._mailbox = host, mailbox

    def options(self, **_: Any) -> Any:
        return self

    def remote(self, *, config: dict[str, Any], **_: Any) -> Handle:
        return Handle(self._host, self._mailbox, config)


@contextlib.contextmanager
def one_process(mailbox: Any) -> Iterator[None]:
    """Meanwhile Tune's trials have their clients in one process, beside the driver."""
    cache = names.named("ray.tune.execution.class_cache:_ActorClassCache")
    if not hasattr(cache, "get"):
        yield
        return
    host, kill = beside_driver(ClientHost), ray.kill

    def kill_actor(actor: Any, **options: Any) -> None:
        """Tune kills what did not stop within ten seconds, as one of hundreds may not: no harm, if it is a handle."""
        if not isinstance(actor, Handle):
            kill(actor, **options)

    try:
        with (
            names.replaced(cache, "get", lambda self, trainable: Handles(host, mailbox)),
            names.replaced(ray, "kill", kill_actor),
        ):
            yield
    finally:
        with contextlib.suppress(Exception):  # Ray may be gone
            kill(host)


@contextlib.contextmanager
def no_state() -> Iterator[None]:
    """Meanwhile Tune writes its state once, before any trial: it wants the file to be there."""
    controller = names.named("ray.tune.execution.tune_controller:TuneController")
    save = getattr(controller, "save_to_dir", None)
    if save is None or not hasattr(controller, "experiment_state_path"):
        yield
        return

    def save_once(self: Any) -> None:
        if not os.path.exists(self.experiment_state_path):
            save(self)

    with names.replaced(controller, "save_to_dir", save_once):
        yield
