"""A failed trial in MLflow: what was raised and where is a tag of its run, the whole traceback a file; both once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_sweeps import Seen
from test_mlflow_runs import send

from genlab.errors import told
from genlab.tracking.runs import Runs


def failing(depth: int) -> None:
    if depth:
        failing(depth - 1)
    raise ValueError("the loss has no gradient\nsecond line")


def test_the_whole_traceback_is_there_once(
    make_sweep: Any, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError) as caught:
        failing(3)
    text = told(caught.value, str(Path(__file__).parent))
    sweep = make_sweep()
    sweep.whole_trial("0000", 1)
    sweep.trial("0001")
    sweep.records.append("error", trial="0001", epoch=1, traceback=text)
    written: list[str] = []
    real = Runs.file
    monkeypatch.setattr(Runs, "file", lambda self, run, *given: (written.append(given[1]), real(self, run, *given))[1])
    for times in (1, 2):  # as `genlab replay` sends it again
        send(sweep, database)
        seen = Seen(sweep, database)
        run = seen.children["0001"]
        assert written.count("traceback.txt") == 1, times
        assert [info.path for info in seen.client.list_artifacts(run.info.run_id)] == ["config.json", "traceback.txt"]
        file = seen.client.download_artifacts(run.info.run_id, "traceback.txt", str(tmp_path))
        assert Path(file).read_text() == text and text.count("in failing") >= 4
        line = failing.__code__.co_firstlineno + 3
        told_in_short = f"test_mlflow_traceback.py:{line}, in failing: ValueError: the loss has no gradient"
        assert run.data.tags["genlab.error"] == told_in_short and run.info.status == "FAILED"
    other = seen.children["0000"]
    assert [info.path for info in seen.client.list_artifacts(other.info.run_id)] == ["config.json", "images"]
    assert "genlab.error" not in other.data.tags
