"""`genlab replay` as a user types it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from genlab import cli


def command(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-c", "from genlab.cli import main; main()", *words]
    return subprocess.run(call, cwd=cwd, capture_output=True, text=True, check=False)


def test_sends_and_says_so(make_sweep: Any, database: str, tmp_path: Path) -> None:
    sweep = make_sweep("lsgan")
    sweep.whole_trial("00000", 1)
    sweep.end()
    work = tmp_path / "work"
    work.mkdir()
    done = command("replay", "../results", cwd=work)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{sweep.records.name}: all 3 events are in {database}\n"
    assert not list(work.iterdir())  # no mlruns


def run(monkeypatch: Any, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["genlab", *words])
    with pytest.raises(SystemExit) as exit:
        cli.main()
    return int(exit.value.code or 0)


def test_an_error_is_one_line_and_exit_2(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    assert run(monkeypatch, "replay", str(tmp_path)) == 2
    said = capsys.readouterr().err
    assert said.startswith("genlab: ") and said.count("\n") == 1 and "--storage" in said


def test_an_unreachable_server_is_exit_1_with_the_command(
    make_sweep: Any, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setattr("genlab.tracking.replay.PAUSES", (0.01,))
    sweep = make_sweep()
    sweep.whole_trial("00000", 1)
    words = ("replay", str(tmp_path / "results"), "--sweep", sweep.records.name, "--tracking-uri", "http://127.0.0.1:9")
    assert run(monkeypatch, *words) == 1
    said = capsys.readouterr()
    assert "2 of 2 events not sent" in said.out
    assert f"try again: genlab {' '.join(words)}" in said.err


def test_a_sweep_that_cannot_be_read_is_told_in_its_line(
    make_sweep: Any, database: str, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    sweep = make_sweep("old")
    sweep.records.storage.write("manifest.json", b'{"format": 1}')
    assert run(monkeypatch, "replay", str(tmp_path / "results")) == 1
    said = capsys.readouterr().out
    assert said.startswith(f"{sweep.records.name}: not sent: the sweep ") and "is of format 1" in said


def test_help_names_every_option(monkeypatch: Any, capsys: Any) -> None:
    assert run(monkeypatch, "replay", "--help") == 0
    said = capsys.readouterr().out
    assert "STORAGE" in said and "--sweep" in said and "--tracking-uri" in said
