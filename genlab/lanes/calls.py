"""Calls of the mailbox: each has an answer soon, so that none is waited for without end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import GetTimeoutError

from genlab.errors import GenlabError

SILENT = 300.0  # seconds: by then a mailbox that died was started again


class MailboxSilent(GenlabError):
    """The mailbox does not answer."""


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


def _got(asked: Any) -> Any:
    try:
        return ray.get(asked, timeout=SILENT)
    except GetTimeoutError:
        raise MailboxSilent(f"the sweep's mailbox has not answered for {SILENT:.0f} s") from None
