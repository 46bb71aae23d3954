"""`genlab.open`: tables, images and states of a sweep are those that its records hold."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import genlab
from genlab.errors import GenlabError, StorageError
from genlab.grids import Labels, grid, labelled
from genlab.sealed import seal
from genlab.tracking.claims import Heartbeat
from genlab.tracking.epoch_reports import ReplicaReport
from genlab.tracking.schema import as_json
from genlab.tracking.storage import Storage


def three_trials(make_sweep: Any, **keywords: Any) -> Any:
    """One that ran to its end, one that was pruned, one that failed in its first epoch; and one that confirms."""
    sweep = make_sweep("lsgan", **keywords)
    sweep.whole_trial("0000", 3, lr=0.1)
    sweep.whole_trial("0001", 1, "pruned", lr=0.2, widths="16:32")
    sweep.trial("0002", lr=0.3)
    sweep.records.append("error", trial="0002", epoch=1, traceback="Traceback\n\nx.py:3, in f: ValueError: no\n")
    sweep.whole_trial("confirm-0000", 2, lr=0.1)
    return sweep


def opened(sweep: Any) -> Any:
    return genlab.open(Path(sweep.storage.root, sweep.records.name))


def test_a_row_a_trial(make_sweep: Any) -> None:
    sweep = three_trials(make_sweep)
    sweep.records.trials["0000"].config["widths"] = [8, 64]  # as JSON has it
    sweep.records.storage.write("events/00000001.json", _with_widths(sweep))
    table = opened(sweep).trials()
    assert table.index.name == "trial" and list(table.index) == ["0000", "0001", "0002"]
    metrics = ["frechet_distance", "kid", "lambda"]
    assert list(table.columns) == ["lr", "widths", "objective", "ends", "epoch", *metrics, "failure"]
    for name, epoch in (("0000", 3), ("0001", 1)):
        expected = sweep.report(name, epoch).metrics()
        assert dict(table.loc[name, metrics]) == expected
        assert table.loc[name, "objective"] == expected["frechet_distance"] and table.loc[name, "epoch"] == epoch
    assert list(table.ends) == ["completed", "pruned", "failed"] and list(table.epoch) == [3, 1, 0]
    assert list(table.lr) == [0.1, 0.2, 0.3] and list(table.widths)[:2] == ["8:64", "16:32"]
    assert table.loc["0002", ["objective", *metrics]].isna().all()
    assert table.failure.isna()[:2].all() and table.failure["0002"] == "x.py:3, in f: ValueError: no"
    assert table.epoch.dtype == int and table.objective.dtype == float


def _with_widths(sweep: Any) -> bytes:
    event = as_json(sweep.records.events[0])
    return seal(json.dumps({**event, "config": {**event["config"], "widths": [8, 64]}})).encode()


def test_those_that_confirm_are_kept_apart_and_marked(make_sweep: Any) -> None:
    results = opened(three_trials(make_sweep))
    table = results.trials(confirming=True)
    assert list(table.index) == ["confirm-0000"] and list(table.confirms) == ["0000"]
    assert "confirms" not in results.trials().columns
    assert set(results.curves(confirming=True).index.get_level_values("trial")) == {"confirm-0000"}
    assert "confirm-0000" not in results.curves().index.get_level_values("trial")
    assert results.trial("confirm-0000").confirms == "0000" and results.trial("0000").confirms is None


@pytest.mark.parametrize(("mode", "order"), [("min", ["b", "a", "c", "d"]), ("max", ["a", "b", "d", "c"])])
def test_rows_are_best_first_and_the_best_is_what_was_confirmed_best(
    mode: str, order: list[str], make_sweep: Any
) -> None:
    sweep = make_sweep(mode=mode)

    def trial(name: str, objective: float, ends: str) -> None:
        sweep.trial(name)
        own = [ReplicaReport({"frechet_distance": objective})]
        sweep.epoch(name, 1, ends, report=replace(sweep.report(name, 1), replicas=own))

    for name, objective, ends in (("a", 2, "completed"), ("b", 1, "completed"), ("c", 0, "pruned"), ("d", 9, "pruned")):
        trial(name, objective, ends)
    assert list(opened(sweep).trials().index) == order and opened(sweep).best().name == order[0]
    trial(f"confirm-{order[1]}", 5, "completed")
    trial(f"confirm-{order[0]}", 6 if mode == "min" else 4, "completed")
    assert opened(sweep).best().name == order[1] and list(opened(sweep).trials().index) == order


def test_a_name_that_is_taken_is_told_apart(make_sweep: Any) -> None:
    sweep = make_sweep()
    sweep.trial("0000", kid="mine", ends="also mine", objective=7)
    sweep.epoch("0000", 1, "completed")
    row = opened(sweep).trials().loc["0000"]
    expected = sweep.report("0000", 1).metrics()
    assert row["kid"] == "mine" and row["metric/kid"] == expected["kid"]
    assert (row["setting/ends"], row["ends"]) == ("also mine", "completed")
    assert (row["setting/objective"], row["objective"]) == (7, expected["frechet_distance"])


def test_curves_have_every_metric_of_every_epoch(make_sweep: Any) -> None:
    sweep = three_trials(make_sweep, seeds=(4, 5))
    curves = opened(sweep).curves()
    assert curves.index.names == ["trial", "epoch"]
    assert list(curves.index) == [("0000", 1), ("0000", 2), ("0000", 3), ("0001", 1)]
    for key in curves.index:
        assert dict(curves.loc[key]) == sweep.report(*key).metrics()
    own = opened(sweep).trial("0000").curves()
    pd.testing.assert_frame_equal(own, curves.loc["0000"])
    assert opened(sweep).trial("0002").curves().empty


@pytest.mark.parametrize("seeds", [(0,), (4, 5)])
def test_steps_are_counted_through_all_epochs(seeds: tuple[int, ...], make_sweep: Any) -> None:
    sweep = three_trials(make_sweep, seeds=seeds)
    steps = opened(sweep).trial("0000").steps()
    assert list(steps.index) == list(range(36)) and list(steps.epoch) == [1] * 12 + [2] * 12 + [3] * 12
    for i, seed in enumerate(seeds):
        for name in ("loss/generator", "score/real"):
            expected = [sweep.report("0000", epoch).replicas[i].steps[name] for epoch in (1, 2, 3)]
            column = steps[name if len(seeds) == 1 else f"{name}/seed_{seed}"]
            np.testing.assert_array_equal(column, np.concatenate(expected))
    assert opened(sweep).trial("0002").steps().empty


def test_images_come_as_they_were_reported(make_sweep: Any) -> None:
    sweep = make_sweep(seeds=(4, 5))
    sweep.whole_trial("0000", 2)
    trial = opened(sweep).trial("0000")
    for epoch, replica in ((1, 0), (2, 1)):
        expected = sweep.report("0000", epoch).replicas[replica].images["samples"]
        found = trial.images("samples", epoch, replica)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(trial.images(), trial.images("samples", 2, 0))
    with pytest.raises(GenlabError, match="no images 'sample': did you mean samples"):
        trial.images("sample")
    with pytest.raises(GenlabError, match="has no epoch 3: it has 1, 2"):
        trial.images(epoch=3)
    with pytest.raises(GenlabError, match="has 2 replicas: there is no number 2"):
        trial.images(replica=2)


def test_images_as_a_picture_have_their_labels(make_sweep: Any) -> None:
    images = {"rows": np.full((2, 3, 8, 8, 1), 9, np.uint8), "set": np.full((5, 8, 8, 1), 9, np.uint8)}
    replicas = [
        ReplicaReport({"frechet_distance": 1.0}, {}, images, {"rows": Labels((name, "dog"))}) for name in ("cat", "cow")
    ]
    sweep = make_sweep(seeds=(4, 5))
    sweep.trial("0000")
    sweep.epoch("0000", 1, None, replace(sweep.report("0000", 1), replicas=replicas))
    trial = opened(sweep).trial("0000")
    np.testing.assert_array_equal(trial.picture(), labelled(images["rows"], ("cat", "dog")))
    np.testing.assert_array_equal(trial.picture("rows", 1, 1), labelled(images["rows"], ("cow", "dog")))
    np.testing.assert_array_equal(trial.picture("set"), grid(images["set"]))
    np.testing.assert_array_equal(trial.images("rows"), images["rows"])  # the array alone
    with pytest.raises(GenlabError, match="no images 'sat': did you mean set"):
        trial.picture("sat")


def test_without_a_key_come_the_images_of_the_contact_sheet(make_sweep: Any) -> None:
    level = {"test/a": 1, "figure": 2, "drawn": 3}
    images = {key: np.full((4, 4, 1), value, np.uint8) for key, value in level.items()}
    for named, expected in ((None, 2), ("drawn", 3), ("nowhere", 2)):
        sweep = make_sweep(images=named)
        sweep.trial("0000")
        sweep.epoch("0000", 1, images=images)
        assert opened(sweep).trial("0000").images().max() == expected
    sweep.epoch("0000", 2, images={})
    with pytest.raises(GenlabError, match="of epoch 2 of trial 0000 has no images '': it has none"):
        opened(sweep).trial("0000").images()


def test_what_a_trial_says_of_itself(make_sweep: Any) -> None:
    sweep = three_trials(make_sweep)
    results = opened(sweep)
    best = results.best()
    assert best.name == "0000" and best.metrics == sweep.report("0000", 3).metrics()
    assert (best.settings, best.config) == ({"lr": 0.1}, {"lr": 0.1, "ngf": 8, "epochs": 3, "seed": 0})
    assert (best.ends, best.epoch, best.objective) == ("completed", 3, best.metrics["frechet_distance"])
    assert best.error is None and best.checkpoint is None  # a made sweep has no states
    failed = results.trial("0002")
    assert failed.ends == "failed" and str(failed.error).startswith("Traceback") and failed.epoch == 0
    for ask in (lambda: failed.metrics, failed.images, failed.load):
        with pytest.raises(GenlabError, match="trial 0002 has no epoch: it has none yet"):
            ask()
    assert "0000" in repr(best) and results.name in repr(results)


def test_how_a_sweep_stands(make_sweep: Any) -> None:
    sweep = make_sweep()
    assert opened(sweep).state == "stopped" and opened(sweep).trials().empty and opened(sweep).curves().empty
    with pytest.raises(GenlabError, match=r"no trial of .* ran to its end"):
        opened(sweep).best()
    with pytest.raises(GenlabError, match="has no trial '0000': none has begun"):
        opened(sweep).trial("0000")
    heartbeat = Heartbeat(sweep.records.storage)
    sweep.trial("0000", lr=1)
    sweep.epoch("0000", 1)
    assert opened(sweep).state == "running" and list(opened(sweep).trials().ends) == ["unfinished"]
    heartbeat.stop()
    assert opened(sweep).state == "stopped" and opened(sweep).summary == {}
    sweep.end(best="0000")
    assert opened(sweep).state == "ended" and opened(sweep).summary["best"] == "0000"
    sweep.trial("0001", lr=2)  # it was resumed
    assert opened(sweep).state == "stopped"
    with pytest.raises(GenlabError, match="no trial '0003': did you mean 000"):
        opened(sweep).trial("0003")


def test_what_is_no_sweep_is_refused_with_what_to_open(make_sweep: Any, tmp_path: Path) -> None:
    sweep = three_trials(make_sweep)
    folder = f"{sweep.storage.root}/{sweep.records.name}"
    assert genlab.open(f"{folder}/").name == sweep.records.name
    for path in ("trials/0000", "trials/0000/epoch_0001-a.report.safetensors", "trials/0009"):
        name = path.split("/")[1]
        with pytest.raises(GenlabError, match=rf"genlab\.open\('{folder}'\)\.trial\('{name}'\)"):
            genlab.open(f"{folder}/{path}")
    with pytest.raises(GenlabError, match=f"holds 1 sweeps: name one of them, such as {folder}"):
        genlab.open(sweep.storage.root)
    with pytest.raises(GenlabError, match="there is no folder"):
        genlab.open(tmp_path / "nowhere")
    with pytest.raises(GenlabError, match=r"holds no sweep: it has no manifest\.json"):
        genlab.open(tmp_path)
    inside = Storage(str(tmp_path / "trials"))  # a storage may be called so itself
    (tmp_path / "trials").mkdir()
    Path(folder).rename(inside.where(sweep.records.name))
    assert genlab.open(inside.where(sweep.records.name)).name == sweep.records.name


def test_a_relative_path_and_a_url(make_sweep: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = three_trials(make_sweep)
    expected = opened(sweep).trials()
    monkeypatch.chdir(Path(sweep.storage.root, sweep.records.name))
    pd.testing.assert_frame_equal(genlab.open(".").trials(), expected)
    memory = Storage(f"memory://results/{sweep.records.name}")
    for path in Path().rglob("*"):
        if path.is_file():
            memory.write(str(path), path.read_bytes())
    found = genlab.open(f"memory://results/{sweep.records.name}")
    pd.testing.assert_frame_equal(found.trials(), expected)
    assert found.trial("0000").images().shape == (16, 8, 8, 1)


def test_each_file_is_read_once_and_no_report_before_it_is_asked_for(
    make_sweep: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = three_trials(make_sweep)
    read, real = Counter[str](), Storage.read
    monkeypatch.setattr(Storage, "read", lambda self, path, *most: (read.update([path]), real(self, path, *most))[1])
    results = opened(sweep)
    assert len(read) == 1 + sweep.n and not any("report" in path for path in read)
    results.trials()
    results.trials()
    assert sum("report" in path for path in read) == 2  # the last ones alone
    for _ in range(2):
        results.curves()
        results.trials(confirming=True)
        results.curves(confirming=True)
    reports = [path for path in read if "report" in path]
    assert len(reports) == 6 and {*read.values()} == {1}


def test_neither_ray_nor_mlflow_nor_torch_is_loaded(make_sweep: Any) -> None:
    sweep = three_trials(make_sweep)
    code = f"import genlab, sys; sweep = genlab.open({sweep.records.storage.url!r}); best = sweep.best();"
    code += "sweep.trials(), sweep.curves(), best.steps(), best.images();"
    code += "print(*({'ray', 'mlflow', 'torch'} & {*sys.modules}), {'load', 'open'} - {*dir(genlab)})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_what_has_no_such_images_is_told_by_its_epoch(make_sweep: Any) -> None:
    sweep = make_sweep()
    sweep.whole_trial("0000", 3)
    trial = opened(sweep).trial("0000")
    for ask in (trial.images, trial.picture):
        with pytest.raises(
            GenlabError, match="the report of epoch 1 of trial 0000 has no images 'sampels': did you mean"
        ):
            ask("sampels", 1)
    for replica in (-1, 1):
        with pytest.raises(GenlabError, match=f"trial 0000 has 1 replicas: there is no number {replica}"):
            trial.images(replica=replica)


def test_a_report_is_that_of_the_epoch_that_was_asked_for(make_sweep: Any) -> None:
    sweep = make_sweep()
    sweep.whole_trial("0000", 3)
    trial = opened(sweep).trial("0000")
    assert [trial.report(epoch).epoch for epoch in (1, 2, 3, None)] == [1, 2, 3, 3]
    assert list(trial.metrics_by_epoch()) == [1, 2, 3]
    assert trial.metrics_by_epoch()[2] == sweep.report("0000", 2).metrics()
    for epoch in (0, 4):
        with pytest.raises(GenlabError, match=f"trial 0000 has no epoch {epoch}: it has 1, 2, 3"):
            trial.report(epoch)


def test_a_sweep_and_a_trial_are_told_in_a_line(make_sweep: Any) -> None:
    sweep = make_sweep()
    assert repr(opened(sweep)) == f"<{sweep.records.name}, stopped: 0 trials; none ran to its end>"
    own = [ReplicaReport({"frechet_distance": 1.23456789})]
    sweep.trial("0000")
    sweep.epoch("0000", 1, "completed", report=replace(sweep.report("0000", 1), replicas=own))
    sweep.trial("0001")
    sweep.error("0001", 1)
    sweep.whole_trial("confirm-0001", 1, "pruned")
    results = opened(sweep)
    told = "2 trials (1 completed, 1 failed); best: trial 0000, frechet_distance 1.23457"
    assert repr(results) == f"<{results.name}, stopped: {told}>"
    assert repr(results.trial("0000")) == (
        f"<trial 0000 of {results.name}: completed after epoch 1, frechet_distance 1.23457>"
    )
    assert repr(results.trial("0001")) == f"<trial 0001 of {results.name}: failed after epoch 0, no objective>"
    assert make_sweep().records and opened(sweep).ends() == "2 trials (1 completed, 1 failed)"
    single = make_sweep("single")
    single.trial("0000")
    assert opened(single).ends() == "1 trial (1 unfinished)"


def test_the_summary_is_that_of_the_last_end(make_sweep: Any) -> None:
    sweep = make_sweep()
    sweep.whole_trial("0000")
    sweep.end(best="0000", gain=1.0)
    sweep.whole_trial("0001")
    sweep.end(best="0001", gain=2.0)
    assert (opened(sweep).summary["best"], opened(sweep).summary["gain"]) == ("0001", 2.0)


def test_the_trials_best_first_and_the_confirming_ones_apart(make_sweep: Any) -> None:
    sweep = three_trials(make_sweep)
    results = opened(sweep)
    assert [trial.name for trial in results.ranked()] == ["0000", "0001", "0002"]
    assert [trial.name for trial in results.ranked(confirming=True)] == ["confirm-0000"]
    trial = results.ranked()[0]
    assert trial.sweep is results and trial.record is results.records.trials["0000"]


def test_names_that_a_trial_did_not_search_have_the_value_that_it_had(make_sweep: Any) -> None:
    sweep = make_sweep()
    sweep.whole_trial("0000", 1, ngf=16)
    sweep.whole_trial("0001", 1, lr=0.5, confirms="x")
    sweep.whole_trial("confirm-0000", 1, ngf=16, confirms="y")
    table = opened(sweep).trials()
    assert table.loc["0000", ["ngf", "lr"]].tolist() == [16, 0.1] and table.loc["0001", ["ngf", "lr"]].tolist() == [
        8,
        0.5,
    ]
    assert pd.isna(table["confirms"]["0000"]) and table["confirms"]["0001"] == "x"
    confirming = opened(sweep).trials(confirming=True)
    assert (confirming["setting/confirms"].tolist(), confirming["confirms"].tolist()) == (["y"], ["0000"])
    assert confirming.index.dtype == object and confirming.index.name == "trial"


def test_a_metric_that_only_some_trials_have_is_missing_in_the_others(make_sweep: Any) -> None:
    sweep = make_sweep()
    for name, more in (("0000", {}), ("0001", {"rare": 7.0, "failure": 1.0, "epoch": 2.0})):
        sweep.trial(name)
        own = [ReplicaReport({"frechet_distance": float(name) + 1} | more)]
        sweep.epoch(name, 1, "completed", report=replace(sweep.report(name, 1), replicas=own))
    table = opened(sweep).trials()
    assert np.isnan(table.rare["0000"]) and table.rare["0001"] == 7.0
    assert table["metric/failure"]["0001"] == 1.0 and table["metric/epoch"]["0001"] == 2.0
    assert table.failure.isna().all() and list(table.columns)[-1] == "failure"
    curves = opened(sweep).curves()
    assert curves.rare.isna().tolist() == [True, False] and set(curves.dtypes) == {np.dtype(float)}
    own = opened(sweep).trial("0001").curves()
    assert own.index.name == "epoch" and list(own.index) == [1] and own.index.dtype == int
    assert opened(sweep).trial("0000").steps().index.name == "step"


def test_steps_of_an_epoch_that_is_damaged_are_missing_and_others_keep_their_numbers(make_sweep: Any) -> None:
    sweep = make_sweep()
    sweep.whole_trial("0000", 3)
    path = sweep.records.trials["0000"].epochs[2].report.path
    Path(sweep.records.storage.root, path).write_bytes(b"junk")
    steps = opened(sweep).trial("0000").steps()
    assert list(steps.index) == [*range(12), *range(24, 36)] and steps.columns[0] == "epoch"
    assert list(steps.epoch) == [1] * 12 + [3] * 12


def test_where_the_storage_does_not_answer_no_table_lacks_an_epoch(
    make_sweep: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep()
    sweep.whole_trial("0000", 3)
    found = opened(sweep)

    def fails(*_: Any) -> Any:
        raise StorageError("no answer")

    monkeypatch.setattr("genlab.tracking.storage.Storage.read_named", fails)
    for read in (found.trial("0000").steps, found.trials, found.curves, found.trial("0000").curves):
        with pytest.raises(StorageError):
            read()


def test_a_relative_path_that_is_refused_is_named_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads it sees from which folder it was looked for."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    for path, why in (("nowhere", "there is no folder {}"), ("empty", r"{} holds no sweep: it has no manifest\.json")):
        with pytest.raises(GenlabError, match=f"^{why.format(tmp_path / path)}$"):
            genlab.open(path)
