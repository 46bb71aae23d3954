"""How the mailbox is called: again and again while there is nothing, and never without end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import GetTimeoutError

from genlab.lanes import calls
from genlab.lanes.calls import MailboxSilent, ask, call
from genlab.lanes.mailbox import ASK_AGAIN, POLL


def test_each_request_is_asked_until_it_has_its_own_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = {"a": 3, "b": 1, "c": 2}
    asked: list[str] = []

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        asked.append(request["id"])
        done = asked.count(request["id"]) == rounds[request["id"]]
        return {"kind": "ok", "value": f"of {request['id']}"} if done else ASK_AGAIN

    monkeypatch.setattr(calls.ray, "get", lambda answers, timeout: answers)
    mailbox = SimpleNamespace(ask=SimpleNamespace(remote=answer))
    answers = ask(mailbox, [{"id": name} for name in rounds])
    assert [one["value"] for one in answers] == ["of a", "of b", "of c"]
    assert asked == ["a", "b", "c", "a", "c", "a"]


def test_a_mailbox_that_is_silent_for_minutes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    def get(answers: Any, timeout: float) -> Any:
        waited.append(timeout)
        raise GetTimeoutError

    monkeypatch.setattr(calls.ray, "get", get)
    method = SimpleNamespace(remote=lambda *arguments: None)
    for silent in (lambda: call(method, 1), lambda: ask(SimpleNamespace(ask=method), [{}])):
        with pytest.raises(MailboxSilent, match="has not answered for 300 s"):
            silent()
    assert min(waited) > 10 * POLL  # a mailbox that is started again has long answered
