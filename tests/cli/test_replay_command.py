"""`genlab replay` as a user types it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from genlab import cli
from genlab.cli import replay as command_module
from genlab.tracking.replay import Replayed


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


OWN = "sqlite:////results/mlflow.db"


@pytest.mark.parametrize(
    ("results", "code", "lines", "why"),
    [
        (
            [Replayed("a-1", OWN, 3), Replayed("b-1", OWN)],
            0,
            ["a-1: all 3 events are in $", "b-1: all 0 events are in $"],
            "",
        ),
        ([Replayed("a-1", OWN, 3, 0, "it is running")], 0, ["a-1: it is running"], ""),
        (
            [Replayed("a-1", OWN, 9, 2, "cut"), Replayed("b-1", OWN, 4), Replayed("c-1", OWN, 5, 5, "away", True)],
            1,
            [
                "a-1: 2 of 9 events not sent to $: cut",
                "b-1: all 4 events are in $",
                "c-1: 5 of 5 events not sent to $: away",
            ],
            "genlab: 7 events are not sent; once the server answers, try again: genlab replay 'my results'",
        ),
        (
            [Replayed("a-1", "http://me:secret@host", 9, 1, "cut"), Replayed("b-1", "", 0, 1, "format 1")],
            1,
            ["a-1: 1 of 9 events not sent to http://host: cut", "b-1: not sent: format 1"],
            "genlab: 2 events are not sent; once that is put right, try again: genlab replay 'my results'",
        ),
    ],
)
def test_what_became_of_each_sweep_is_told_in_a_line(
    results: list[Replayed], code: int, lines: list[str], why: str, monkeypatch: Any, capsys: Any
) -> None:
    asked = []
    monkeypatch.setattr(command_module, "replay", lambda *words: asked.append(words) or results)
    assert run(monkeypatch, "replay", "my results") == code
    said = capsys.readouterr()
    assert said.out.splitlines() == [line.replace("$", OWN) for line in lines]
    assert said.err.strip() == why
    assert asked == [("my results", None, None, None)]


def test_the_command_to_try_again_names_no_password(monkeypatch: Any, capsys: Any) -> None:
    asked = []
    words = ("--sweep", "a-1", "--tracking-uri", "https://me:secret@host")
    left = [Replayed("a-1", words[-1], 2, 2, "away", True)]
    monkeypatch.setattr(command_module, "replay", lambda *given: asked.append(given) or left)
    assert run(monkeypatch, "replay", "results", *words) == 1
    assert asked == [("results", "a-1", "https://me:secret@host", None)]
    said = capsys.readouterr()
    assert said.err.endswith("genlab replay results --sweep a-1 --tracking-uri https://host\n")
    assert "secret" not in said.out


def test_on_a_terminal_progress_is_shown_in_one_line_a_sweep(monkeypatch: Any, capsys: Any) -> None:
    def replays(storage: str, sweep: str, uri: str, progress: Any) -> list[Replayed]:
        for done in (1, 2):
            progress("a-1", done, 2)
        return []

    monkeypatch.setattr(command_module, "replay", replays)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert run(monkeypatch, "replay", "results") == 0
    assert capsys.readouterr().err == "\ra-1: 1/2 \ra-1: 2/2 \n"


def test_ctrl_c_is_130(monkeypatch: Any) -> None:
    def interrupted(*words: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command_module, "replay", interrupted)
    assert run(monkeypatch, "replay", "results") == 130


def test_help_names_every_option(monkeypatch: Any, capsys: Any) -> None:
    assert run(monkeypatch, "replay", "--help") == 0
    said = capsys.readouterr().out
    assert "STORAGE" in said and "--sweep" in said and "--tracking-uri" in said
