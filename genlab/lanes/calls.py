"""Calls of the mailbox: each has an answer soon, so that none is waited for without end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import GetTimeoutError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from genlab.errors import GenlabError

SILENT = 300.0  # seconds: by then a mailbox that died was started again


class MailboxSilent(GenlabError):
    """The mailbox does not answer."""


def beside_driver(kind: type, *arguments: int) -> Any:
    """The handle of an actor, made with these arguments, on the driver's node, which it must not outlive: another node
    may be taken away at any time. It takes no CPU, many wait in it at once, and when it dies it is started again, with
    the calls that were under way."""
    here: Any = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    options: dict[str, Any] = {
        "num_cpus": 0,
        "scheduling_strategy": here,
        "max_concurrency": 10_000,
        "max_restarts": -1,
        "max_task_retries": -1,
    }
    return ray.remote(kind).options(**options).remote(*arguments)


def call(method: Any, *arguments: Any) -> Any:
    """What a method of the mailbox's handle returns.

    Raises:
        MailboxSilent: nothing, for five minutes.
        ray.exceptions.ActorDiedError: the driver has ended it.
    """
    return _got(method.remote(*arguments))


def ask(mailbox: Any, requests: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The answers to all of these requests, however long that takes.

    Raises:
        MailboxSilent, ray.exceptions.ActorDiedError: as `call`.
    """
    answers: dict[int, dict[str, Any]] = {}
    while left := [i for i in range(len(requests)) if i not in answers]:
        got = _got([mailbox.ask.remote(requests[i]) for i in left])
        answers |= {i: one for i, one in zip(left, got, strict=True) if one["kind"] != "again"}
    return [answers[i] for i in range(len(requests))]


async def answer_to(mailbox: Any, request: dict[str, Any]) -> dict[str, Any]:
    """`ask` of one request, where many wait in one process.

    Raises:
        MailboxSilent, ray.exceptions.ActorDiedError: as `call`.
    """
    while True:
        try:
            got = await asyncio.wait_for(mailbox.ask.remote(request), SILENT)
        except TimeoutError:
            raise _silent() from None
        if got["kind"] != "again":
            return got


def _got(asked: Any) -> Any:
    try:
        return ray.get(asked, timeout=SILENT)
    except GetTimeoutError:
        raise _silent() from None


def _silent() -> MailboxSilent:
    return MailboxSilent(f"the sweep's mailbox has not answered for {SILENT:.0f} s")
