"""The surfaces that `benchmarks/search.py` searches, and the benchmark itself on a few trials."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from surfaces import closed_form, finite, recorded  # noqa: E402
from surfaces.surface import Surface  # noqa: E402

from genlab.sweep.plan import make  # noqa: E402
from genlab.sweep.search import suggest  # noqa: E402
from genlab.sweep.space import Space  # noqa: E402
from genlab.tasks.fields import as_dict  # noqa: E402

NAMES = ["gan_digits", "classifier_digits"]


def kept(name: str) -> dict[str, Any]:
    return json.loads((BENCHMARKS / "surfaces" / f"{name}.json").read_text())


def drawn(surface: Surface, count: int) -> list[dict[str, Any]]:
    """Whole configs at random."""
    plan = make(surface.sweep, {}, None)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [as_dict(plan.config(suggest(study.ask(), plan)[0])) for _ in range(count)]


@pytest.mark.parametrize("name", NAMES)
def test_at_the_points_of_the_grid_curves_are_those_that_were_recorded(name: str) -> None:
    surface, file = recorded.load(name), kept(name)
    config = as_dict(make(surface.sweep, {}, None).config({}))
    ends = []
    for table in file["tables"]:
        points = itertools.product(*file["numbers"].values())
        for point, curve in zip(points, table["curves"], strict=True):
            settings = {**config, **table["choices"], **dict(zip(file["numbers"], point, strict=True))}
            assert surface.curve(settings) == pytest.approx(curve, rel=1e-9)
            ends.append(curve[-1])
    assert surface.optimum == (min(ends) if file["mode"] == "min" else max(ends))
    assert surface.regret(surface.optimum) == 0 and surface.regret(surface.typical) == pytest.approx(1)


@pytest.mark.parametrize("name", NAMES)
def test_between_them_they_are_interpolated(name: str) -> None:
    """Halfway between two points of one number, in its logarithm where it has one, lies the mean."""
    surface, file = recorded.load(name), kept(name)
    config = as_dict(make(surface.sweep, {}, None).config({})) | file["tables"][-1]["choices"]
    config |= {field: points[0] for field, points in file["numbers"].items()}
    for field, points in file["numbers"].items():
        for low, high in itertools.pairwise(points):
            middle = math.sqrt(low * high) if file["scales"][field] == "log" else (low + high) / 2
            ends = np.mean([surface.curve(config | {field: end}) for end in (low, high)], 0)
            assert surface.curve(config | {field: middle}) == pytest.approx(ends.tolist(), rel=1e-6)


def test_a_curve_ends_where_one_around_it_diverged() -> None:
    file = {
        "settings": {"epochs": 3},
        "numbers": {"lr": [0.1, 0.2, 0.4]},
        "scales": {"lr": "log"},
        "tables": [{"choices": {}, "curves": [[3.0, 2.0, 1.0], [2.0], [9.0, 9.0, 9.0]]}],
    }
    curve = recorded.Recorded(file)
    assert curve({"lr": 0.1}) == [3.0, 2.0, 1.0] and len(curve({"lr": 0.15})) == 1 and curve({"lr": 0.4}) == [9.0] * 3


@pytest.mark.parametrize("surface", [closed_form.OPTIMIZER, closed_form.NETWORK], ids=lambda surface: surface.name)
def test_the_optimum_of_a_closed_form_is_reached_and_never_passed(surface: Surface) -> None:
    finals = []
    for config in drawn(surface, 3000):
        curve = surface.curve(config)
        assert len(curve) == surface.epochs and all(math.isfinite(value) for value in curve)
        finals.append(curve[-1])
    assert min(finals) > surface.optimum and np.mean(finals) == pytest.approx(surface.typical, abs=0.02)
    best = {
        "optimizer": {"optimizer": "sgd", "lr": 10**-1.5, "momentum": 0.9, "schedule": "cosine", "warmup": 3}
        | {"weight_decay": 10**-3.5},
        "network": {"block": "attention", "activation": "gelu", "normalization": "layer", "depth": 5, "width": 128}
        | {"heads": 4, "dropout": 0.2, "lr": 10**-2.95},
    }[surface.name]
    config = as_dict(make(surface.sweep, {}, None).config(best))
    assert surface.curve(config)[-1] == pytest.approx(surface.optimum, abs=1e-9)


@pytest.mark.parametrize("surface", finite.FINITE, ids=lambda surface: surface.name)
def test_of_a_few_settings_each_may_be_the_best(surface: Surface) -> None:
    plan = make(surface.sweep, {"trials": 50}, None)
    assert plan.trials == int(surface.name.partition(":")[0])
    space = Space(plan.scope)
    configs = [as_dict(plan.config(space.decode(np.array(row)))) for row in space.all()]
    best = set()
    for seed in range(60):
        finals = [surface.curve({**config, "seed": seed})[-1] for config in configs]
        assert sorted(finals) == pytest.approx(np.linspace(0, 1, len(configs)))
        assert np.mean([surface.regret(final) for final in finals]) == pytest.approx(1)
        best.add(int(np.argmin(finals)))
    assert best == {*range(len(configs))}


def test_the_benchmark_prints_a_table_and_one_line_of_json() -> None:
    command = [sys.executable, str(BENCHMARKS / "search.py"), "--repetitions", "2", "--trials", "2", "12"]
    done = subprocess.run([*command, "--processes", "1"], capture_output=True, text=True, check=True)
    *table, last = done.stdout.splitlines()
    result = json.loads(last)
    assert len(table) == 1 + 2 * 4 + 3 * len(finite.FINITE)
    regret = result["regret"]
    few = [regret.pop(surface.name) for surface in finite.FINITE]
    assert result["tried_again"]["genlab"] == 0
    for sides in (of_surface["12"] for of_surface in few):  # there are no more settings than trials
        assert sides["genlab"]["mean"] == sides["genlab"]["again"] == 0
        assert min(sides[side]["again"] for side in ("random", "optuna", "optuna_pruned")) > 1
    for of_surface in regret.values():
        for trials, sides in of_surface.items():
            assert all(0 <= side["mean"] <= 1.5 for side in sides.values())
            assert sides["random"]["trials"] == sides["optuna"]["trials"] == int(trials)
            assert sides["genlab"]["trials"] >= int(trials)
        assert of_surface["12"]["genlab"]["trials"] > 12  # those that were pruned leave epochs for others
        assert all(of_surface["2"][side]["trials"] == 2 for side in of_surface["2"])
