"""A sweep's folder may come from anybody, and its records may be shown to anybody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genlab.errors import CorruptFile
from genlab.sealed import seal
from genlab.tracking.event_files import batch_path
from genlab.tracking.events import problem
from genlab.tracking.records import Records
from genlab.tracking.replay import replay

FILE = ["trials/0000/epoch_0001-a.report.safetensors", 3, "0" * 64]
EPOCH: dict[str, Any] = {
    "n": 2,
    "time": 1.0,
    "event": "epoch",
    "trial": "0000",
    "epoch": 1,
    "report": FILE,
    "state": None,
    "objective": 0.5,
    "ends": None,
}


def test_an_event_of_ours_is_sound(make_sweep: Any) -> None:
    sweep = make_sweep()
    sweep.whole_trial("0000", 2)
    sweep.end()
    written = [json.loads(json.dumps(event)) for event in sweep.records.events]
    assert [problem(event) for event in written] == [None] * 4
    assert problem({"event": "of a newer genlab", "time": 1}) is None


@pytest.mark.parametrize(
    "change",
    [
        {"report": ["trials/0000/../../../other", 3, ""]},
        {"report": ["/etc/passwd", 3, ""]},
        {"report": ["trials/0001/epoch_0001-a.report", 3, ""]},
        {"report": ["trials/0000/.hidden", 3, ""]},
        {"report": ["trials/0000/a/b", 3, ""]},
        {"report": ["trials/0000/", 3, ""]},
        {"report": ["trials/0000/a\n", 3, ""]},
        {"report": ["trials/0000/a", -3, ""]},
        {"report": ["trials/0000/a", 3]},
        {"report": "trials/0000/a"},
        {"report": None},
        {"state": ["s3://bucket/a", 3, ""]},
        {"trial": ".."},
        {"trial": "a/b"},
        {"trial": ""},
        {"trial": 7},
        {"epoch": 0},
        {"epoch": True},
        {"epoch": "1"},
        {"objective": "0.5"},
        {"objective": float("nan")},
        {"ends": "well"},
        {"time": None},
    ],
)
def test_an_event_that_leads_out_of_its_folder_or_makes_no_sense_is_refused(change: Any, make_sweep: Any) -> None:
    assert problem(EPOCH) is None and problem(EPOCH | change) is not None
    sweep = make_sweep()
    sweep.trial("0000", lr=0.1)
    for last in (2, 3):  # a damaged last event is one that was not written, any other is told
        sweep.records.storage.write(batch_path(2), seal(json.dumps(EPOCH | change)).encode())
        if last == 3:
            sweep.records.storage.write(batch_path(3), seal(json.dumps(EPOCH | {"n": 3})).encode())
            with pytest.raises(CorruptFile, match=r"00000002\.json is damaged: it"):
                Records.open(sweep.storage, sweep.records.name)
        else:
            assert len(Records.open(sweep.storage, sweep.records.name).events) == 1


def test_an_epoch_of_a_trial_that_never_began_is_refused(make_sweep: Any) -> None:
    sweep = make_sweep()
    sweep.records.storage.write(batch_path(1), seal(json.dumps(EPOCH | {"n": 1})).encode())
    with pytest.raises(CorruptFile, match="is no whole sweep: of '0000' no event tells before"):
        Records.open(sweep.storage, sweep.records.name)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(list(EPOCH)),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2),
            max_leaves=4,
        ),
    )
)
def test_whatever_stands_in_an_event_is_looked_at_without_a_fault(change: dict[str, Any]) -> None:
    found = problem(EPOCH | change)
    if found is None and "report" in change and change.get("event", "epoch") == "epoch":
        path = change["report"][0]
        assert path.startswith("trials/") and ".." not in path.split("/")


def test_a_password_is_sent_to_no_server_that_only_the_records_name(
    make_sweep: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genlab.tracking.replay.PAUSES", ())
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    named = "http://127.0.0.1:9"
    sweep = make_sweep(options={"tracking_uri": named})
    sweep.whole_trial("0000", 1)
    results = str(tmp_path / "results")
    (without,) = replay(results)
    assert without.unreachable  # nothing secret was to be sent
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    (refused,) = replay(results)
    assert not refused.unreachable and refused.left == refused.events
    assert refused.problem == (
        f"its records name {named}, to which MLFLOW_TRACKING_PASSWORD would be sent: confirm the address by "
        "--tracking-uri"
    )
    (confirmed,) = replay(results, tracking_uri=named)
    assert confirmed.unreachable
    monkeypatch.setenv("MLFLOW_TRACKING_URI", named)
    (configured,) = replay(results)
    assert configured.unreachable


@pytest.mark.parametrize("name", ["..", "a/b", "", ".", "a.b", "/"])
def test_a_trial_has_no_name_that_leads_elsewhere(name: str) -> None:
    began = {"event": "trial", "time": 1, "settings": {}, "config": {}, "distributions": {}}
    assert problem(began | {"trial": "confirm-0007"}) is None and problem(began | {"trial": name}) is not None
