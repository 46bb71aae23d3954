"""All trials' clients in one process, where Tune would start one for each running trial.

What stands in for Ray's own here is no interface of Ray's, and all such names are in this file: the second reason,
after `trainer`, why Ray is bounded below 2.61. Where one is not there, each client has a process (`trainable`).

Tune goes on as ever: it makes what it takes for a trial's actor, calls its methods and waits for what they return. It
gets a `Handle`, which holds a trial's config and last result and passes both to the host with each call. So the host
holds nothing: Ray starts it again when it dies, repeats the calls that were under way, and no trial notices.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import ray
from ray.actor import ActorClass

from genlab.lanes.calls import beside_driver
from genlab.lanes.client import Result, next_result


class ClientHost:
    """The process: an actor in which each running trial's call waits for the mailbox."""

    def __init__(self, mailbox: Any) -> None:
        self.mailbox = mailbox

    async def train(self, begun: str, last: Result | None) -> Result:
        """A trial's next result."""
        return await next_result(self.mailbox, begun, last)


def _method(call: Callable[..., Any]) -> Any:
    """What is called by `.remote(...)`, as an actor's method is."""
    return SimpleNamespace(remote=call)


def _at_once(value: Any) -> Callable[..., Any]:
    """A call whose result is there already. Each has one of its own: Tune tells calls apart by them."""
    return lambda *_, **__: ray.put(value)


class Handle:
    """What Tune takes for the handle of a trial's actor."""

    def __init__(self, host: Any, config: dict[str, Any]) -> None:
        self._host = host
        self._begin(config)
        self.train = _method(self._train)
        self.reset = _method(self._reset)
        self.stop = _method(_at_once(None))
        self.get_auto_filled_metrics = _method(_at_once({}))
        self.__ray_ready__ = _method(_at_once(True))
        self.__ray_terminate__ = _method(_at_once(None))

    def _begin(self, config: dict[str, Any]) -> None:
        self._begun, self._last = config["begun"], None

    def _train(self) -> Any:
        self._last = self._host.train.remote(self._begun, self._last)
        return self._last

    def _reset(self, config: dict[str, Any], **_: Any) -> Any:
        self._begin(config)
        return ray.put(True)


class Handles(ActorClass):
    """What Tune takes for the class of a trial's actor: it checks the type, sets options, and makes one."""

    def __init__(self, host: Any) -> None:
        self._host = host

    def options(self, **_: Any) -> Any:
        return self

    def remote(self, *, config: dict[str, Any], **_: Any) -> Handle:
        return Handle(self._host, config)


@contextlib.contextmanager
def one_process(mailbox: Any) -> Iterator[bool]:
    """Meanwhile Tune's trials have their clients in one process, beside the driver. False where this Ray does not have
    what that takes: then each has one of its own."""
    cache: Any = None
    with contextlib.suppress(ImportError, AttributeError):
        cache = importlib.import_module("ray.tune.execution.class_cache")._ActorClassCache
    if not hasattr(cache, "get"):
        yield False
        return
    host, plain = beside_driver(ClientHost, mailbox), cache.get
    try:
        cache.get = lambda self, trainable: Handles(host)
        yield True
    finally:
        cache.get = plain
        with contextlib.suppress(Exception):  # Ray may be gone
            ray.kill(host)
