"""docs/RESULTS.md and what it rests on: the statements, the records of sweeps, and the rule that judges."""

from __future__ import annotations

import json
import math
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from made_sweeps import MadeSweep
from PIL import Image

import genlab
from genlab.data import SetDescription
from genlab.errors import GenlabError
from genlab.models import Classifier
from genlab.tasks import ClassifierConfig, State, config_class
from genlab.tasks.fields import as_dict
from genlab.tracking.epoch_reports import EpochReport, ReplicaReport
from genlab.training.checkpoints import Checkpoint

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import statements  # noqa: E402
from evidence import measures, page, pictures, record, verdicts  # noqa: E402

TABLE = tomllib.loads(statements.STATEMENTS.read_text())
RUNS = {"one": {"base": {"nz": 100, "epochs": 3}, "what": "a run", "commands": ["uv run sweeps/made.py"]}}
SEEN = SetDescription("digits", "train", (9, 1, 32, 32), ("even", "odd"), "0" * 16).as_json()
KEYS = {"id", "group", "says", "note", "premise", "compare", "claim", "not_comparable", "a", "b", *verdicts.OF_A_SIDE}


def made_record(*trials: Mapping[str, Any], **common: Any) -> dict[str, Any]:
    """A record of trials; each gives `settings` and, by seed, the values of `kid` by epoch and the measures."""
    listed = [
        {
            "trial": f"made/{i:04d}",
            "settings": trial.get("settings", {}),
            "ends": "completed",
            "winner": trial.get("winner", False),
            "device": "cpu, 1 threads",
            "workers": 1,
            "steps_per_epoch": 10,
            "seeds": {
                str(seed): {"metrics": {"kid": curve}, "measures": trial.get("measures", {}), "curves": {}}
                for seed, curve in trial["kid"].items()
            },
        }
        for i, trial in enumerate(trials)
    ]
    sweep = {
        "sweep": "made",
        "command": "uv run sweeps/made.py",
        "commit": "0123abcd",
        "dirty": False,
        "data": {},
        "prepared": [],
    }
    sweep |= {"versions": {}, "date": "2026-01-02", "hours": 1.0, "metric": "kid", "mode": "min"}
    config = {"nz": 100, "epochs": 3} | common
    return {"format": 1, "name": "one", "partial": False, "sweeps": [sweep], "config": config, "trials": listed}


def judged(one: Mapping[str, Any], **more: Any) -> verdicts.Finding:
    """The verdict on a statement of nz 10 against the base, in `one`."""
    statement = {"id": "x", "run": "one", "metric": "kid", "a": {"where": {"nz": 10}}, "b": {}}
    return verdicts.judge(statement | more, RUNS, {"one": one})


def pair(small: list[float], base: list[float]) -> dict[str, Any]:
    """A record of both settings with these last values, one a seed."""
    both = [{i: [9.0, 9.0, value] for i, value in enumerate(values)} for values in (small, base)]
    config = {"epochs": 3, "seed": 0}
    made = made_record({"settings": {"nz": 10}, "kid": both[0]}, {"settings": {"nz": 100}, "kid": both[1]})
    return made | {"config": config}


def test_the_interval_of_three_seeds_is_students() -> None:
    """By hand: differences 1, 2, 3 have the mean 2 and the standard error 1/√3; t(0.975, 2) = 4.30265."""
    found = judged(pair([3.0, 5.0, 7.0], [2.0, 3.0, 4.0]), compare="difference", claim={"above": 0})
    assert found.interval is not None
    half = 4.302652729911275 / math.sqrt(3)
    assert found.interval == pytest.approx((2.0, 2 - half, 2 + half), rel=1e-9)
    assert found.verdict == "not decided"  # 2 - 2.48 is below 0
    assert found.sides == {"a": {"0": 3.0, "1": 5.0, "2": 7.0}, "b": {"0": 2.0, "1": 3.0, "2": 4.0}}


def test_a_ratio_is_one_of_geometric_means() -> None:
    """By hand: the logarithms of 1/2, 1/2 and 1/4 have the mean -4/3 log 2 and the standard error log 2 / 3."""
    found = judged(pair([1.0, 1.0, 1.0], [2.0, 2.0, 4.0]), compare="ratio", claim={"below": 1})
    low, high = ((-4 + sign * 4.302652729911275) / 3 * math.log(2) for sign in (-1, 1))
    assert found.interval == pytest.approx((2 ** (-4 / 3), math.exp(low), math.exp(high)), rel=1e-9)
    assert found.verdict == "not decided"
    nearer = judged(pair([1.0, 1.0, 1.0], [2.0, 2.0, 2.1]), compare="ratio", claim={"below": 1})
    assert nearer.verdict == "confirmed"
    negative = judged(pair([1.0, -1.0, 1.0], [2.0] * 3), compare="ratio", claim={"below": 1})
    assert (negative.verdict, negative.detail) == ("not decided", "a ratio of values that are not all positive")


@pytest.mark.parametrize(
    ("small", "claim", "verdict"),
    [
        ([1.0, 1.1, 1.2], {"below": 0}, "confirmed"),
        ([1.0, 1.1, 1.2], {"above": 0}, "refuted"),
        ([3.0, 3.1, 3.2], {"below": 0}, "refuted"),
        ([1.0, 2.0, 3.1], {"above": 0}, "not decided"),
        ([1.0, 2.0, 3.1], {"below": 0}, "not decided"),
        ([1.9, 2.0, 2.1], {"above": -0.5, "below": 0.5}, "confirmed"),
        ([1.9, 2.0, 2.1], {"above": -0.1, "below": 0.1}, "not decided"),
        ([2.9, 3.0, 3.1], {"above": -0.5, "below": 0.5}, "refuted"),
        ([1.0, 1.1], {"below": 0}, "not decided"),
        ([1.0], {"below": 0}, "seen once"),
        ([2.0, 2.0, 2.0], {"below": 0}, "refuted"),  # a border itself is not below it
    ],
)
def test_the_rule(small: list[float], claim: dict[str, float], verdict: str) -> None:
    found = judged(pair(small, [2.0] * len(small)), compare="difference", claim=claim)
    assert found.verdict == verdict


def test_what_one_seed_saw_is_told() -> None:
    assert judged(pair([1.0], [2.0]), compare="difference", claim={"below": 0}).detail == "as stated"
    assert judged(pair([1.0], [2.0]), compare="difference", claim={"above": 0}).detail == "the other way"


def test_sides_are_paired_by_seed_and_only_where_both_have_one() -> None:
    both = made_record(
        {"settings": {"nz": 10}, "kid": {1: [5.0], 2: [7.0]}}, {"settings": {}, "kid": {2: [1.0], 0: [9.0]}}
    )
    found = judged(both, compare="difference", claim={"above": 0})
    assert found.sides == {"a": {"2": 7.0}, "b": {"2": 1.0}} and found.estimate == 6.0


def test_losses_of_different_kinds_are_not_compared() -> None:
    found = judged(pair([1.0] * 3, [2.0] * 3), compare="difference", not_comparable="two losses")
    assert (found.verdict, found.detail, found.interval) == ("not comparable", "two losses", None)
    assert found.sides["b"] == {"0": 2.0, "1": 2.0, "2": 2.0}


def test_what_is_missing_was_not_run() -> None:
    claim = {"compare": "difference", "claim": {"above": 0}}
    assert (
        verdicts.judge({"id": "x", "run": "one", "metric": "kid", "a": {}} | claim, RUNS, {}).detail == "no record one"
    )
    base = made_record({"kid": {0: [1.0, 2.0]}})
    assert judged(base, **claim).detail == "one has no trial nz=10"
    assert judged(base, a={"trial": "winner"}, **claim).detail == "one has no trial winner"
    assert judged(base, **claim).verdict == "not run"


def test_a_trial_without_the_number_decides_nothing() -> None:
    """Such as one that diverged before."""
    claim = {"compare": "difference", "claim": {"above": 0}}
    both = pair([1.0], [2.0])
    assert judged(both, metric="recall", **claim).detail == "one has no recall, its trial is completed"
    both["trials"][0]["ends"] = "diverged"
    late = judged(both, epochs=[3, 4], **claim)
    assert (late.verdict, late.detail) == ("not decided", "one has no kid at epochs 3 to 4, its trial is diverged")
    assert judged(pair([1.0, 2.0], [2.0, 1.0]), epochs=1, take="rising", **claim).verdict == "not decided"


def test_what_a_trial_did_not_come_to_is_not_its_last_epoch() -> None:
    """Where no epoch is named the last one is meant, and an unfinished trial has none."""
    claim = {"compare": "ratio", "claim": {"below": 1}}
    both = pair([1.0, 1.0, 1.1], [2.0, 2.0, 2.1])
    assert judged(both, **claim).verdict == "confirmed"
    both["trials"][0]["ends"] = "unfinished"
    assert judged(both, **claim).detail == "one has no kid, its trial is unfinished"
    assert judged(both, epochs=3, **claim).verdict == "confirmed"


def test_without_what_a_statement_presupposes_there_is_no_case() -> None:
    falls = {"id": "falls", "run": "one", "metric": "kid", "a": {"epochs": 2}, "b": {"epochs": 1}, "compare": "ratio"}
    rises = falls | {"id": "rises", "a": {"epochs": 3}, "b": {"epochs": 2}, "claim": {"above": 1}, "premise": "falls"}
    table = [rises, falls | {"claim": {"below": 1}}]
    for second, expected in ((0.5, "confirmed"), (2.5, "no case")):
        record = made_record({"kid": {seed: [1.0 + seed / 50, second, 3.0 + seed / 50] for seed in (0, 1, 2)}})
        found = verdicts.judge_all(table, RUNS, {"one": record})
        assert found["rises"].verdict == expected and found["rises"].estimate is not None
    assert found["rises"].detail == "what it presupposes is refuted" and found["falls"].verdict == "refuted"
    once = made_record({"kid": {0: [1.0, 0.5, 3.0]}})
    assert verdicts.judge_all(table, RUNS, {"one": once})["rises"].detail == "as stated"
    assert verdicts.judge_all(table, RUNS, {})["rises"].verdict == "not run"


def test_two_trials_that_fit_one_side_are_refused() -> None:
    twice = made_record({"settings": {"nz": 10}, "kid": {0: [1.0]}}, {"settings": {"nz": 10}, "kid": {0: [2.0]}})
    with pytest.raises(GenlabError, match=r"x: several trials of one fit side a"):
        judged(twice, compare="difference", claim={"above": 0})


@pytest.mark.parametrize(
    ("side", "value"),
    [
        ({}, 4.0),  # the last epoch
        ({"epochs": 2}, 5.0),
        ({"epochs": [2, 4]}, 4.0),
        ({"epochs": [1, 4], "take": "min"}, 1.0),
        ({"epochs": [1, 4], "take": "max"}, 5.0),
        ({"epochs": [1, 4], "take": "rising"}, 2 / 3),
        ({"metric": "relative/kid"}, 2.0),
        ({"metric": "spikes/loss"}, 0.25),
    ],
)
def test_a_side_is_read_at_its_epochs(side: dict[str, Any], value: float) -> None:
    one = made_record({"kid": {0: [1.0, 5.0, 3.0, 4.0]}, "measures": {"spikes/loss": 0.25, "deviation/kid": 6.5}})
    statement = {"id": "x", "run": "one", "metric": "kid", "compare": "value", "claim": {"above": 0}, "a": side}
    assert verdicts.judge(statement, RUNS, {"one": one}).estimate == pytest.approx(value)


def test_the_gap_is_between_real_and_fake_scores() -> None:
    one = made_record({"kid": {0: [1.0]}})
    one["trials"][0]["seeds"]["0"]["metrics"] |= {"score/real": [0.9, 0.7], "score/fake": [0.2, 0.4]}
    statement = {"id": "x", "run": "one", "metric": "score/gap", "a": {}, "compare": "value", "claim": {"above": 0}}
    assert verdicts.judge(statement, RUNS, {"one": one}).estimate == pytest.approx(0.3)


def a_sweep(folder: Path, seeds: tuple[int, ...] = (0, 1), command: str = "made.py", called: str = "made") -> MadeSweep:
    """Two trials of two epochs of 300 steps; the value of `kid` is the trial's nz plus the seed, over the epoch."""
    environment = {"command": command, "git_commit": "0123abcd", "git_dirty": "true", "python": "3", "host": "h"}
    sweep = MadeSweep(folder / "results", sweep=called, seeds=seeds, environment=environment)
    sweep.records.append("data", description={"real": [SEEN]}, prepared={"prepared/judge": {"accuracy/clean": 0.98765}})
    for name, nz in (("0000", 100), ("0001", 10)):
        sweep.trial(name, nz=nz, dataset="image_folder:/somewhere/faces")
        for epoch in (1, 2):
            replicas = []
            for seed in seeds:
                rng = np.random.default_rng([nz, epoch, seed])
                metrics = {"frechet_distance": (nz + seed) / epoch, "sizes/real": 3.0, "kid": math.pi * 1e-3}
                curves = {key: rng.random(300).astype(np.float32) for key in ("loss/generator", "loss/discriminator")}
                replicas.append(
                    ReplicaReport(metrics, curves, {"samples": rng.integers(0, 255, (4, 8, 8, 1), np.uint8)})
                )
            report = EpochReport(
                name, epoch, 0.0, 300 * (epoch - 1), seeds, replicas, host={"device": "cpu, 1 threads"}
            )
            sweep.epoch(name, epoch, "completed" if epoch == 2 else None, report=report)
    return sweep


def test_a_record_holds_what_a_statement_may_ask_for(tmp_path: Path) -> None:
    sweep = a_sweep(tmp_path, command="made.py --dataset image_folder:/a/faces --storage /b/c --data-root=/d --seeds 2")
    sweep.end()
    made = json.loads(record.as_text(record.record([sweep.records.storage.url], "one")))
    of_sweep = made["sweeps"][0]
    assert of_sweep["command"] == "uv run sweeps/made.py --dataset image_folder:faces --seeds 2"
    assert (of_sweep["commit"], of_sweep["dirty"], of_sweep["versions"]) == ("0123abcd", True, {"python": "3"})
    assert made["config"]["dataset"] == "image_folder:faces" and "/somewhere" not in json.dumps(made)
    assert [trial["settings"] for trial in made["trials"]] == [{"nz": 100}, {"nz": 10}] and not made["partial"]
    first = made["trials"][0]
    assert (first["ends"], first["steps_per_epoch"], first["device"]) == ("completed", 300, "cpu, 1 threads")
    one = first["seeds"]["1"]
    assert one["metrics"]["frechet_distance"] == [101.0, 50.5] and one["metrics"]["kid"] == [0.0031416] * 2
    assert "sizes/real" not in one["metrics"] and len(one["metrics"]["images/speckle"]) == 2
    assert len(one["curves"]["loss/generator"]) == record.POINTS
    curve = np.concatenate([np.random.default_rng([100, epoch, 1]).random(300).astype(np.float32) for epoch in (1, 2)])
    assert one["curves"]["loss/generator"][0] == pytest.approx(curve[:10].mean(), rel=1e-4)
    assert one["measures"]["deviation/loss/generator"] == pytest.approx(12**-0.5, rel=0.1)
    statement = {
        "id": "x",
        "run": "one",
        "metric": "frechet_distance",
        "epochs": 2,
        "a": {},
        "b": {"where": {"nz": 10}},
    }
    runs = {"one": {"base": {"nz": 100, "dataset": "image_folder:faces"}}}
    found = verdicts.judge(statement | {"compare": "difference", "claim": {"above": 0}}, runs, {"one": made})
    assert found.estimate == 45.0 and found.detail == "2 seeds"


def a_judge(images: torch.Tensor) -> Checkpoint:
    """Of a classifier of two classes that has learned nothing, but finds as many of these images in either."""
    config = ClassifierConfig(width=8, dataset="digits")
    network = Classifier(classes=2, channels=1, image_size=32, width=8, features=config.features).eval()
    with torch.no_grad():
        logits = network(images)
        network.head[-1].bias[1] -= (logits[:, 1] - logits[:, 0]).median() + 1e-6
    state = State({f"networks/classifier/{name}": tensor for name, tensor in network.state_dict().items()}, {})
    return Checkpoint("classifier", None, as_dict(config), {"labelled": SEEN}, 1, (0,), (state,))


def test_samples_that_the_judge_reads_anew_are_counted(tmp_path: Path) -> None:
    """The samples of the second epoch are those of the first, but for one in four, where another class stands."""
    images = torch.randint(256, (40, 1, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    judge = a_judge(images / 255)
    seen = genlab.load(judge)["classifier"](images / 255).argmax(1)
    one, other = ((seen == value).nonzero()[:4, 0].tolist() for value in (0, 1))
    sweep = MadeSweep(tmp_path / "results")
    path = "prepared/judge.safetensors"
    sweep.storage.write(path, judge.encode())
    sweep.records.append("data", description={}, prepared={path: {}})
    for name, size in (("0000", 32), ("0001", 64)):
        sweep.trial(name, dataset="digits", image_size=size)
        for epoch, items in enumerate((one, [*one[:3], other[0]]), start=1):
            samples = images[items].movedim(1, -1).numpy()
            sweep.epoch(name, epoch, "completed" if epoch == 2 else None, images=samples)
    sweep.end()
    first, second = record.record([sweep.records.storage.url], "one")["trials"]
    assert first["seeds"]["0"]["metrics"]["images/class_changed"] == [None, 0.25]
    assert "images/class_changed" not in second["seeds"]["0"]["metrics"]  # its judge would be another one


def test_only_what_has_ended_is_recorded_unless_asked(tmp_path: Path) -> None:
    sweep = a_sweep(tmp_path)
    with pytest.raises(GenlabError, match="has not ended, it is stopped: resume it"):
        record.record([sweep.records.storage.url], "one")
    assert record.record([sweep.records.storage.url], "one", partial=True)["partial"]


def test_a_record_is_added_to(tmp_path: Path) -> None:
    """Of two sweeps recorded one after the other comes the record of both at once, with the second's folder alone."""
    folders = []
    for name in ("first", "second"):
        sweep = a_sweep(tmp_path, called=name)
        sweep.end()
        folders.append(sweep.records.storage.url)
    both = json.loads(record.as_text(record.record(folders, "one")))
    first, second = (json.loads(record.as_text(record.record([folder], "one"))) for folder in folders)
    assert second["config"]["dataset"] and record.together(first, second) == both
    assert record.together(both, first | {"partial": True}) == both | {
        "partial": True,
        "sweeps": both["sweeps"][::-1],
        "trials": both["trials"][2:] + both["trials"][:2],
    }
    assert record.together(first | {"partial": True}, second)["partial"]
    third = second | {"config": {**second["config"], "dropout": 0.3}}  # a field that the first did not know
    added = record.together(first, third)
    assert added["config"] == both["config"]
    assert [trial["settings"].get("dropout") for trial in added["trials"]] == [None, None, 0.3, 0.3]


def test_the_winner_is_what_confirmed_best(tmp_path: Path) -> None:
    sweep = MadeSweep(tmp_path / "results")
    sweep.whole_trial("0000", nz=1)
    sweep.whole_trial("0001", nz=2)
    sweep.whole_trial("confirm-0001", nz=2)
    sweep.end()
    made = record.record([sweep.records.storage.url], "one")
    assert [trial["trial"] for trial in made["trials"] if trial["winner"]] == [f"{sweep.records.name}/confirm-0001"]


def test_the_command_records_writes_and_checks(tmp_path: Path) -> None:
    sweep = a_sweep(tmp_path)
    sweep.end()
    docs = tmp_path / "docs"
    docs.mkdir()
    folders = (sweep.records.storage.url,)
    with pytest.raises(GenlabError, match=r"statements.toml has no \[runs.stray\]"):
        statements.main(statements.Record(folders=folders, name="stray"), docs)
    adding = statements.Record(folders=folders, name="lsgan-mnist", add=True)
    with pytest.raises(GenlabError, match=r"there is no record .*lsgan-mnist.json"):
        statements.main(adding, docs)
    assert statements.main(statements.Record(folders=folders, name="lsgan-mnist"), docs) == 0
    text = (docs / "results" / "lsgan-mnist.json").read_text()
    assert statements.main(adding, docs) == 0 and (docs / "results" / "lsgan-mnist.json").read_text() == text
    assert statements.main(statements.Check(), docs) == 1  # nothing is written yet
    assert statements.main(statements.Write(), docs) == 0 and statements.main(statements.Check(), docs) == 0
    text = (docs / "RESULTS.md").read_text()
    assert "data digits train 9×1×32×32 (0000000000000000); accuracy of the judge 0.988\n" in text
    assert "### lsgan-mnist" in text and "| 0001 | nz=10 | completed | 2 of 300 | 0, 1 | 5.25 ± 0.354 |" in text
    kept = docs / "results" / "lsgan-mnist.json"
    kept.write_text(kept.read_text().replace('"frechet_distance": [10.0, 5.0]', '"frechet_distance": [10.0, 6.0]'))
    assert statements.main(statements.Check(), docs) == 1
    kept.rename(docs / "results" / "other.json")
    with pytest.raises(GenlabError, match=r"other.json is no record other of format 1"):
        statements.main(statements.Write(), docs)


def test_the_page_shows_numbers_verdict_and_pictures(tmp_path: Path) -> None:
    statement = {"id": "x", "group": "g", "says": "nz 10 is worse", "run": "one", "metric": "kid", "epochs": 3}
    statement |= {"a": {"where": {"nz": 10}}, "b": {}, "compare": "difference", "claim": {"above": 0}}
    table = {"groups": {"g": "A group"}, "runs": RUNS, "metrics": {"kid": "a distance"}, "statements": [statement]}
    table |= {"slips": [{"says": "A slip."}], "pictures": [{"file": "x.png", "group": "g", "caption": "A picture."}]}
    text = page.text(table, {"one": pair([3.0, 3.1, 3.2], [2.0, 2.0, 2.0])}, tmp_path)
    row = "| nz 10 is worse | `kid` one, epoch 3: nz=10 minus base | difference above 0 | "
    assert f"{row}3.10 ± 0.100 and 2.00 ± 0 (3 seeds); difference 1.10 [0.852, 1.35] | **confirmed** |" in text
    assert "1 statements: 1 confirmed." in text and "x.png" not in text and "- A slip." in text
    (tmp_path / "x.png").touch()
    assert "![A picture.](results/x.png)" in page.text(table, {}, tmp_path)
    with pytest.raises(GenlabError, match=r"records without a .* stray"):
        page.text(table, {"stray": {}}, tmp_path)


def test_every_statement_names_what_exists() -> None:
    tasks = ("gan", "vae", "dae")
    reported = {name for task in tasks for name in config_class(task)().reports()} | {"score/gap"}
    of_curves = {f"{measure}/loss/{side}" for measure in measures.CURVES for side in ("generator", "discriminator")}
    of_curves |= {f"{verdicts.RELATIVE}loss/{side}" for side in ("generator", "discriminator")}
    known = reported | of_curves | {"opposition/loss"} | set(measures.IMAGES) | {"accuracy/conditional"}
    ids = [one["id"] for one in TABLE["statements"]]
    assert len(set(ids)) == len(ids)
    used = set()
    for one in TABLE["statements"]:
        assert set(one) <= KEYS and one["group"] in TABLE["groups"], one["id"]
        assert one["compare"] in verdicts.COMPARISONS and ("b" in one) == (one["compare"] != "value"), one["id"]
        assert ("claim" in one) != ("not_comparable" in one), one["id"]
        assert one.get("premise", ids[0]) in ids and one.get("premise") != one["id"], one["id"]
        assert set(one.get("claim", {"above": 0})) <= {"above", "below"} and one.get("claim") != {}, one["id"]
        for side in ("a", "b"):
            if side in one:
                own = verdicts.side_of(one, side)
                assert set(own) <= set(verdicts.OF_A_SIDE) and own["run"] in TABLE["runs"], one["id"]
                assert own["metric"] in known and own["metric"] in TABLE["metrics"], one["id"]
                assert own.get("take", "mean") in verdicts.REDUCTIONS, one["id"]
                used.add(own["metric"])
    assert used == set(TABLE["metrics"])
    for picture in TABLE["pictures"]:
        assert picture["group"] in TABLE["groups"] and picture["run"] in TABLE["runs"], picture["file"]


def test_every_run_has_fields_that_its_task_has() -> None:
    tasks = {"vae": "vae", "dae": "dae"}
    for name, run in TABLE["runs"].items():
        fields = config_class(tasks.get(name.partition("-")[0], "gan")).__dataclass_fields__
        asked = [side.get("where", {}) for one in TABLE["statements"] for side in sides_in(one, name)]
        assert {*run["base"], *(key for where in asked for key in where)} <= set(fields), name


def sides_in(one: Mapping[str, Any], run: str) -> list[dict[str, Any]]:
    sides = [verdicts.side_of(one, side) for side in ("a", "b") if side in one]
    return [side for side in sides if side["run"] == run]


def test_the_page_is_what_the_records_say() -> None:
    assert statements.main(statements.Check()) == 0
    text = (statements.DOCS / "RESULTS.md").read_text()
    assert all(f"### {path.stem}\n" in text for path in (statements.DOCS / "results").glob("*.json"))


def test_a_run_begins_goes_on_and_is_left_alone_once_it_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command goes on with a sweep that stopped before its end, and records it then."""
    asked: list[list[str]] = []
    made: dict[str, MadeSweep] = {}

    def started(command: list[str], cwd: Path) -> Any:
        asked.append(command[1:])
        assert cwd == BENCHMARKS.parent
        folder = Path(command[-1])
        if "--resume" not in command:
            made[folder.name] = MadeSweep(folder)
            made[folder.name].whole_trial("0000", dataset="mnist")
        else:
            made[folder.name].end()
        return SimpleNamespace(returncode=0 if "--resume" in command else 130)

    monkeypatch.setattr("statements.subprocess.run", started)
    docs, storage = tmp_path / "docs", str(tmp_path / "sweeps")
    docs.mkdir()
    order = statements.Run(names=("vae-mnist",), storage=storage, data_root="/data")
    with pytest.raises(GenlabError, match="vae-mnist stopped with exit code 130"):
        statements.main(order, docs)
    assert not (docs / "results").exists()
    assert statements.main(order, docs) == 0
    assert statements.main(order, docs) == 0
    script, *words = TABLE["runs"]["vae-mnist"]["commands"][0].split()[2:]
    there = ["--storage", f"{storage}/vae-mnist-0"]
    assert asked == [[script, *words, "--data-root", "/data", *there], [script, "--resume", *there]]
    kept = json.loads((docs / "results" / "vae-mnist.json").read_text())
    assert kept["name"] == "vae-mnist" and not kept["partial"]
    assert (docs / "RESULTS.md").exists()
    with pytest.raises(GenlabError, match="did you mean vae-mnist"):
        statements.main(statements.Run(names=("vae-mnsit",), storage=storage), docs)


def test_pictures_are_drawn_of_the_trial_and_the_epochs_that_they_name(tmp_path: Path) -> None:
    sweep = MadeSweep(tmp_path / "results")
    for name, nz in (("0000", 100), ("0001", 10)):
        sweep.trial(name, nz=nz, dataset="image_folder:/somewhere/faces")
        for epoch in (1, 2):
            images = np.full((2, 30, 30, 1), nz + epoch, np.uint8)
            sweep.epoch(name, epoch, "completed" if epoch == 2 else None, images=images)
    sweep.end()
    run = {"base": {"dataset": "image_folder:faces", "nz": 100, "epochs": 3}, "what": "", "commands": []}
    wanted = {"run": "one", "images": "samples", "group": "g", "caption": ""}
    listed = [
        {"file": "both.png", "where": {"nz": 10, "epochs": 3}, "epochs": [1, 2]},
        {"file": "late.png", "epochs": [3]},  # which was not trained
        {"file": "none.png", "where": {"nz": 7}, "epochs": [1]},
        {"file": "other.png", "run": "two", "epochs": [1]},
    ]
    table = {"runs": {"one": run}, "pictures": [wanted | picture for picture in listed]}
    drawn = pictures.draw(table, "one", [sweep.records.storage.url], tmp_path)
    assert drawn == [tmp_path / "both.png"]
    pixels = np.asarray(Image.open(drawn[0]))
    times = 600 // 66  # two images of 30 pixels, 2 apart
    assert pixels.shape == ((34 + 8 + 34) * times, 66 * times, 3)
    assert (pixels[5 * times, 5 * times] == 11).all() and (pixels[-5 * times, 5 * times] == 12).all()
