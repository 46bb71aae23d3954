"""`genlab show` and `genlab list` as a user types them."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from genlab import cli
from genlab.tasks import State
from genlab.tracking.claims import Heartbeat
from genlab.tracking.epoch_reports import ReplicaReport
from genlab.training import Checkpoint

TRACE = "Traceback (most recent call last):\n  File [red]\nx.py:3, in loss: ValueError: :100: [b]\n"


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs `genlab` into a file; what was said, after the exit code was found to be this one."""
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)
    monkeypatch.setenv("COLUMNS", "40")

    def run(*words: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["genlab", *words])
        with pytest.raises(SystemExit) as exit:
            cli.main()
        said = capsys.readouterr()
        assert (exit.value.code or 0) == code and (said.err == "") == (code != 2)
        return said.err if code == 2 else said.out

    return run


def lines(said: str) -> list[str]:
    return [" ".join(line.split()) for line in said.splitlines()]


def row(said: str, name: str) -> list[str]:
    """The cells of the table's row that begins with `name`."""
    (found,) = [line for line in said.splitlines() if line.startswith("│") and line[1:].split()[0] == name]
    return [cell.strip() for cell in found.strip("│").split("│")]


def told_sweep(make_sweep: Any) -> Any:
    """Two trials that ran to their end, one that was pruned ahead of them, two that failed alike, one that confirms."""
    sweep = make_sweep("lsgan", script="lsgan.py")
    sweep.whole_trial("0000", 3, lr=0.1, note="[b] :100: " + "long" * 30)
    sweep.whole_trial("0001", 3, lr=0.25, note="same")
    best = min("0000", "0001", key=lambda name: sweep.report(name, 3).metrics()["frechet_distance"])
    sweep.whole_trial("0002", 1, "pruned", lr=0.3, note="same")
    for name in ("0003", "0004"):
        sweep.trial(name, lr=0.4, note="same")
        sweep.records.append("error", trial=name, epoch=1, traceback=TRACE)
    sweep.whole_trial(f"confirm-{best}", 3, lr=0.25)
    sweep.end(best=best, command="uv run sweeps/lsgan.py --trials 1")
    return sweep, best


def test_a_sweep(show: Any, make_sweep: Any) -> None:
    sweep, best = told_sweep(make_sweep)
    folder = sweep.records.storage.url
    for name in ("contact_sheet.png", "curves.png"):
        sweep.records.storage.write(name, b"png")
    said = show("show", folder)
    value = {name: trial.objective for name, trial in sweep.records.trials.items()}
    told = lines(said)
    head = "ended, 5 trials (2 completed, 2 failed, 1 pruned), judged by frechet_distance (lower is better)"
    assert told[:5] == [
        f"{sweep.records.name}: {head}",
        "2 trials failed: 0003, 0004",
        "x.py:3, in loss: ValueError: :100: [b]",
        f"the whole traceback: genlab show {folder}/trials/0003",
        f"best: trial {best}, frechet_distance {value[best]:.4g}",
    ]
    assert "train it again: uv run sweeps/lsgan.py --trials 1" in told
    assert f"contact sheet: {folder}/contact_sheet.png" in told and f"curves: {folder}/curves.png" in told
    names = [line[1:].split()[0] for line in said.splitlines() if line.startswith("│")]
    assert names == [best, {"0000": "0001", "0001": "0000"}[best], "0002", "0003", "0004", f"confirm-{best}"]
    assert row(said, "0001") == ["0001", f"{value['0001']:.4g}", "completed", "3/3", "lr=0.25 note=same"]
    assert row(said, "0003") == ["0003", "-", "failed", "0/3", "lr=0.4 note=same"]
    assert f"lr=0.1 note=[b] :100: {'long' * 30}" in said  # whole, though the terminal is narrow
    sweep.end(best="another", command="of the past")
    assert "train it again" not in show("show", folder)


def test_what_was_confirmed_shows_the_metric_of_the_test_data(show: Any, make_sweep: Any) -> None:
    sweep, best = told_sweep(make_sweep)
    sweep.trial("confirm-0002", lr=0.3, note="same")
    own = [ReplicaReport({"frechet_distance": 1.5, "test/frechet_distance": 2.5})]
    sweep.epoch("confirm-0002", 3, "completed", report=replace(sweep.report("confirm-0002", 3), replicas=own))
    said = show("show", sweep.records.storage.url)
    assert row(said, "confirm-0002") == ["confirm-0002", "1.5", "2.5", "completed", "3/3", "lr=0.3 note=same"]
    assert row(said, f"confirm-{best}")[2] == "-"  # it has none


def test_of_settings_those_are_shown_that_differ_and_of_what_was_confirmed_all(show: Any, make_sweep: Any) -> None:
    sweep = make_sweep()
    for name, lr in (("0000", 0.1), ("0001", 0.2), ("confirm-0000", 0.1), ("confirm-0001", 0.2)):
        sweep.whole_trial(name, lr=lr, note="same")
    said = show("show", sweep.records.storage.url)
    assert row(said, "0001")[-1] == "lr=0.2" and row(said, "confirm-0001")[-1] == "lr=0.2 note=same"


def test_code_that_was_accepted_is_told_with_the_trial_before_it(show: Any, make_sweep: Any) -> None:
    sweep = make_sweep()
    sweep.records.append("start", options={}, changed=["genlab"], code={})
    sweep.whole_trial("0000")
    sweep.trial("0001")
    sweep.records.append("start", options={"trials": 9})  # of a resume with the same code
    sweep.records.append("start", options={}, changed=["lsgan.py", "networks.py"], code={})
    sweep.trial("0002")
    assert [line for line in lines(show("show", sweep.records.storage.url)) if line.startswith("resumed")] == [
        "resumed with another genlab (--accept-code), before any trial",
        "resumed with another lsgan.py, networks.py (--accept-code), after trial 0001 had begun",
    ]


def test_a_pruned_trial_that_was_ahead(show: Any, make_sweep: Any) -> None:
    sweep, best = told_sweep(make_sweep)
    sweep.trial("0005", lr=0.5)
    own = [ReplicaReport({"frechet_distance": 1.5})]
    sweep.epoch("0005", 2, "pruned", report=replace(sweep.report("0005", 2), replicas=own))
    then = sweep.records.trials[best].epochs[2].objective
    told = f"pruned while it was ahead of the best: trial 0005, frechet_distance 1.5 at epoch 2, against {then:.4g}"
    assert told in show("show", sweep.records.storage.url)


def test_a_trial_by_its_folder_or_a_file_in_it(show: Any, make_sweep: Any) -> None:
    sweep, _ = told_sweep(make_sweep)
    folder = sweep.records.storage.url
    said = show("show", f"{folder}/trials/0001")
    assert said == show("show", f"{folder}/{sweep.records.trials['0001'].epochs[1].report.path}")
    value = sweep.records.trials["0001"].objective
    assert lines(said)[:2] == [
        f"trial 0001 of {sweep.records.name}: completed after epoch 3 of 3, frechet_distance {value:.4g}",
        f"reports and states: {folder}/trials/0001",
    ]
    assert row(said, "lr") == ["lr", "0.25", "searched"] and row(said, "ngf") == ["ngf", "8", ""]
    kid = [f"{sweep.report('0001', epoch).metrics()['kid']:.4g}" for epoch in (1, 2, 3)]
    assert row(said, "kid") == ["kid", *kid]


def test_a_trial_that_failed_before_it_had_a_folder_shows_its_whole_traceback(show: Any, make_sweep: Any) -> None:
    sweep, _ = told_sweep(make_sweep)
    folder = Path(sweep.records.storage.url)
    assert not (folder / "trials" / "0003").exists()
    said = show("show", str(folder / "trials" / "0003"))
    assert said.endswith(TRACE) and "failed after epoch 0 of 3, no objective" in said


def test_a_trial_of_many_epochs_and_a_damaged_report(show: Any, make_sweep: Any) -> None:
    sweep = make_sweep()
    sweep.trial("0000", epochs=20)
    for epoch in range(1, 21):
        sweep.epoch("0000", epoch)
    path = Path(sweep.records.storage.root, sweep.records.trials["0000"].epochs[20].report.path)
    path.write_bytes(b"junk")
    said = show("show", f"{sweep.records.storage.url}/trials/0000")
    assert "metrics by epoch, 12 epochs left out" in said and "the report of epoch 20 is damaged or missing" in said
    cells = row(said, "kid")
    expected = [f"{sweep.report('0000', epoch).metrics()['kid']:.4g}" for epoch in (1, 4, 6, 9, 12, 15, 17)]
    assert cells == ["kid", *expected, "-"]


NETWORKS = State({"networks/vae/0.weight": torch.zeros(2)}, {"steps_done": 1, "epoch": 1, "streams": {}})
MEANS = {"networks/means": torch.zeros(2)}  # of a task that trains no networks, whatever it calls its tensors
OPENED = "networks: genlab.open('{sweep}').trial('0000')"
READ = "genlab.Checkpoint.read('{state}').states[0]"


@pytest.mark.parametrize(
    ("task", "states", "told"),
    [
        ("gan", [NETWORKS, NETWORKS], [f"{OPENED}.load()"]),
        ("VAETask", [NETWORKS], [f"{OPENED}.load(task=VAETask), with VAETask of vae.py"]),
        ("Means", [State(MEANS, {})], [f"tensors: {READ}.tensors"]),
        ("Means", [State(MEANS, {"k": 2})], [f"tensors: {READ}.tensors", f"scalars: {READ}.scalars"]),
        ("Count", [State({}, {"k": 2})], [f"scalars: {READ}.scalars"]),
        ("Nothing", [State({}, {})], None),
    ],
)
def test_how_what_it_left_is_loaded(
    task: str, states: list[State], told: list[str] | None, show: Any, make_sweep: Any
) -> None:
    sweep = make_sweep(task=task, script="vae.py")
    storage = sweep.records.storage
    sweep.trial("0000")
    report = storage.write("trials/0000/epoch_0001-a.report.safetensors", sweep.report("0000", 1).encode())
    checkpoint = Checkpoint(task, None, {}, {}, 1, [*range(len(states))], states)
    state = storage.write("trials/0000/epoch_0001-a.state.safetensors", checkpoint.encode())
    sweep.records.append("epoch", trial="0000", epoch=1, report=report, state=state, objective=1.0, ends=None)

    def after_the_reports() -> list[str]:
        said = lines(show("show", f"{storage.url}/trials/0000"))
        return said[said.index(f"reports and states: {storage.url}/trials/0000") + 1 : said.index("config")]

    lies = f"checkpoint: {storage.where(state.path)}"
    expected = [line.format(sweep=storage.url, state=storage.where(state.path)) for line in told or []]
    assert after_the_reports() == ([lies, *expected] if told else [])
    for junk in (b"junk", (10**9).to_bytes(8, "little") + b"{}", (10**4).to_bytes(8, "little") + b"{}"):
        storage.write(state.path, junk)
        assert after_the_reports() == [f"{lies} (missing or damaged)"]
    storage.delete(state.path)
    assert after_the_reports() == [f"{lies} (missing or damaged)"]


def test_a_sweep_that_is_running(show: Any, make_sweep: Any) -> None:
    sweep = make_sweep()
    assert lines(show("show", sweep.records.storage.url)) == [
        f"{sweep.records.name}: stopped, 0 trials, judged by frechet_distance (lower is better)",
        "no trial ran to the end: there is no best frechet_distance",
    ]
    sweep.trial("0000", lr=1)
    sweep.whole_trial("0001", lr=1)
    heartbeat = Heartbeat(sweep.records.storage)
    said = show("show", sweep.records.storage.url)
    assert f"{sweep.records.name}: running, 2 trials (1 completed, 1 unfinished)" in said
    assert row(said, "0000") == ["0000", "-", "running", "0/3", ""] and row(said, "0001")[2] == "completed"
    heartbeat.stop()
    assert row(show("show", sweep.records.storage.url), "0000")[2] == "unfinished"


def test_a_line_a_sweep(show: Any, make_sweep: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first, best = told_sweep(make_sweep)
    second = make_sweep("other", metric="accuracy", mode="max")
    third = make_sweep("third")
    third.records.storage.write("manifest.json", json.dumps({"format": 1}).encode())
    heartbeat = Heartbeat(second.records.storage)
    monkeypatch.chdir(Path(first.storage.root).parent)
    said = show("list", code=1)  # ./results, of which one cannot be read
    heartbeat.stop()
    value, ends = first.records.trials[best].objective, "5 trials (2 completed, 2 failed, 1 pruned)"
    assert lines(said)[:4] == [
        "sweep state trials metric best of trial",
        f"{first.records.name} ended {ends} frechet_distance (min) {value:.4g} {best}",
        f"{second.records.name} running 0 trials accuracy (max) - -",
        f"{third.records.name} cannot be read",
    ]
    assert "is of format 1" in said
    third.storage.clear(third.records.name)
    assert "cannot be read" not in show("list", first.storage.url)


def test_what_is_not_there_is_one_line_and_exit_2(show: Any, make_sweep: Any, tmp_path: Path) -> None:
    sweep, _ = told_sweep(make_sweep)
    folder = sweep.records.storage.url
    for words, why in (
        (("show", str(tmp_path / "nowhere")), "there is no folder"),
        (("show", str(tmp_path)), "holds no sweep: it has no manifest.json"),
        (("show", sweep.storage.url), f"holds 1 sweeps: name one of them, such as {folder}"),
        (("show", f"{folder}/trials/0009"), "has no trial '0009': did you mean"),
        (("show", "nothing://x"), "cannot be used"),
        (("list", str(tmp_path)), "holds no sweeps"),
        (("list", folder), f"is a sweep itself: genlab show {folder}"),
    ):
        said = show(*words, code=2)
        assert said.startswith("genlab: ") and said.count("\n") == 1 and why in said


def test_long_lines_are_whole_in_a_file(show: Any, make_sweep: Any) -> None:
    """However wide the terminal is said to be: a traceback can be copied."""
    sweep = make_sweep("s" * 90, metric="m" * 90)
    sweep.trial("0000", note="n" * 90)
    trace = f"Traceback\n  {'w ' * 200}w\n\nx.py:3, in f: ValueError: {'why ' * 90}.\n\n\n"
    sweep.records.append("error", trial="0000", epoch=1, traceback=trace)
    url = sweep.records.storage.url
    assert show("show", f"{url}/trials/0000").endswith(trace.rstrip("\n") + "\n")
    head = f"{sweep.records.name}: stopped, 1 trial (1 failed), judged by {'m' * 90} (lower is better)\n"
    assert show("show", url).startswith(head)


def test_a_trial_that_confirms_says_whose_setting_it_trains(show: Any, make_sweep: Any) -> None:
    sweep = make_sweep(mode="max")
    sweep.whole_trial("0000", 2, lr=0.1)
    sweep.whole_trial("confirm-0000", 2, lr=0.1)
    url = sweep.records.storage.url
    said = lines(show("show", f"{url}/trials/confirm-0000"))
    assert said[1] == "trains the setting of trial 0000 again on fresh seeds"
    assert "trains the setting" not in show("show", f"{url}/trials/0000")
    whole = lines(show("show", url))
    assert whole[0].endswith("(higher is better)")
    assert f"all of the best: genlab show {url}/trials/0000" in whole
    assert whole.index("best first") < whole.index("trained again on fresh seeds")
    assert not any(line.startswith(("contact sheet", "curves", "train it again")) for line in whole)


def test_of_a_trial_without_epochs_nothing_is_shown_that_lies_nowhere(show: Any, make_sweep: Any) -> None:
    sweep = make_sweep()
    sweep.trial("0000", lr=0.2)
    said = lines(show("show", f"{sweep.records.storage.url}/trials/0000"))
    assert said[:2] == [f"trial 0000 of {sweep.records.name}: unfinished after epoch 0 of 3, no objective", "config"]
    assert not any("metrics by epoch" in line for line in said)


@pytest.mark.parametrize(("epochs", "left_out"), [(8, None), (9, ", 1 epochs left out")])
def test_up_to_eight_epochs_are_shown_in_columns(epochs: int, left_out: str | None, show: Any, make_sweep: Any) -> None:
    sweep = make_sweep()
    sweep.trial("0000", epochs=9)
    for epoch in range(1, epochs + 1):
        sweep.epoch("0000", epoch)
    said = show("show", f"{sweep.records.storage.url}/trials/0000")
    assert f"metrics by epoch{left_out or ''}" in lines(said) and len(row(said, "kid")) == 1 + 8
    assert "is damaged or missing" not in said
    numbers = next(line for line in said.splitlines() if line.startswith("┃") and " 9 " in line.replace("8", "9"))
    assert numbers.split()[-2] == str(epochs)


def test_tables_tell_their_columns(show: Any, make_sweep: Any) -> None:
    sweep = make_sweep()
    sweep.whole_trial("0000", 1, lr=0.1)
    sweep.whole_trial("confirm-0000", 1, lr=0.1)
    heads = [
        [cell.strip() for cell in line.strip("┃").split("┃")]
        for line in show("show", sweep.records.storage.url).splitlines()
        if line.startswith("┃")
    ]
    own = ["trial", "frechet_distance", "", "epoch", "settings"]
    assert heads == [own, [*own[:2], "test/frechet_distance", *own[2:]]]


def test_what_cannot_be_read_is_told_by_its_name_below_the_table(
    show: Any, make_sweep: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the reason: one sweep must not hide the others."""
    sweep = make_sweep()
    monkeypatch.setattr("genlab.results.SweepResults.ends", lambda self: 1 / 0)
    said = lines(show("list", sweep.storage.url, code=1))
    assert said == [
        "sweep state trials metric best of trial",
        f"{sweep.records.name} cannot be read",
        f"{sweep.records.name}: ZeroDivisionError: division by zero",
    ]


def test_nobody_need_read_what_a_command_says(make_sweep: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As `genlab list | head -1`: no traceback, and the exit code of what was done."""
    sweep = make_sweep()
    with (tmp_path / "said").open("w") as said:

        class Unread:
            encoding = "utf-8"

            def fileno(self) -> int:
                return said.fileno()

            def write(self, text: str) -> int:
                raise BrokenPipeError

            flush = write

        monkeypatch.setattr(sys, "stdout", Unread())
        monkeypatch.setattr(sys, "argv", ["genlab", "list", sweep.storage.url])
        with pytest.raises(SystemExit) as exit:
            cli.main()
    assert exit.value.code == 0


def test_control_characters_in_an_error_are_written_out(show: Any) -> None:
    assert "no\\x1b[2Jwhere" in show("show", "no\x1b[2Jwhere", code=2)
