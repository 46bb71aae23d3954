"""What is refused before anything starts, and what a command line comes to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import toys
from made_sweeps import manifest
from optuna.distributions import FloatDistribution
from toys import toy_sweep

from genlab.errors import GenlabError
from genlab.sweep import Sweep, choice, integer, log_uniform, uniform
from genlab.sweep.command import resumed
from genlab.sweep.options import LATEST, Options, parse
from genlab.sweep.plan import make
from genlab.tracking.records import Records
from genlab.tracking.storage import Storage

GAN = Sweep(
    name="gan",
    task="gan",
    metric="kid",
    space={"lr_generator": log_uniform(1e-4, 1e-2), "ngf": choice(16, 32)},
    grid=[{"loss": "hinge"}, {"loss": "least_squares", "nz": 50}],
)


def plan(sweep: Sweep = GAN, **options: Any) -> Any:
    return make(sweep, options, "script.py")


def test_trial_0_is_the_default_setting() -> None:
    made = plan()
    assert made.default == {"lr_generator": 2e-4, "ngf": 32}
    assert made.config(made.default) == made.config({})


def test_set_fixes_a_field_or_makes_it_a_choice() -> None:
    made = plan(set=("nz=50", "ngf=8,32", "lr_generator=0.001"))
    assert made.base["nz"] == 50 and made.base["lr_generator"] == 1e-3
    assert set(made.space) == {"ngf"} and made.space["ngf"].choices == (8, 32)
    assert made.default == {"ngf": 32}


def test_a_choice_without_the_default_begins_with_its_first() -> None:
    assert plan(set=("ngf=8,16",)).default["ngf"] == 8


def test_all_fixed_is_one_trial() -> None:
    made = plan(set=("ngf=16", "lr_generator=0.001"))
    assert made.trials == 1 and not made.space


def test_a_grid_is_the_default_and_the_list() -> None:
    made = plan(grid=True)
    assert made.grid == [
        {"loss": "non_saturating", "nz": 100},
        {"loss": "hinge", "nz": 100},
        {"loss": "least_squares", "nz": 50},
    ]
    assert made.trials == 3 and made.scheduler == "fifo"


def test_a_grid_of_choices_is_all_their_combinations_the_default_first_if_it_is_among_them() -> None:
    made = plan(grid=True, set=("nz=50,100", "loss=hinge,non_saturating", "ngf=8"))
    assert made.grid == [
        {"nz": 100, "loss": "non_saturating"},
        {"nz": 50, "loss": "hinge"},
        {"nz": 50, "loss": "non_saturating"},
        {"nz": 100, "loss": "hinge"},
    ]
    assert made.config(made.grid[1]).ngf == 8 and made.trials == 4 and not made.space
    assert plan(grid=True, set=("nz=50,60",)).grid == [{"nz": 50}, {"nz": 60}]
    assert [row["epochs"] for row in plan(grid=True, set=("epochs=1,2",)).grid or ()] == [1, 2]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"set": ("ngff=3",)}, "ngf"),
        ({"set": ("ngf=x",)}, "ngf"),
        ({"set": ("ngf",)}, "KEY=VALUE"),
        ({"set": ("ngf=",)}, "KEY=VALUE"),
        ({"set": ("ngf=8", "ngf=16")}, "twice"),
        ({"set": ("dataset=mnist",), "dataset": "digits"}, "twice"),
        ({"set": ("seed=1,2",)}, "seed cannot be searched"),
        ({"set": ("batch_size=0",)}, "batch_size"),
        ({"set": ("batch_size=15",), "workers": 2}, "batch_size=15"),
        ({"set": ("batch_size=2",), "workers": 2}, "batch_size=2 leaves 1 image"),
        ({"set": ("batch_size=16,15",), "workers": 2}, "batch_size=15"),
        ({"dataset": "minst"}, "mnist"),
        ({"grid": True, "trials": 3}, "--grid"),
        ({"grid": True, "set": ("loss=hinge",)}, "loss"),
        ({"grid": True, "set": ("batch_size=16,15",), "workers": 2}, "batch_size=15"),
        ({"grid": True, "set": ("batch_size=16,0",)}, "batch_size"),
        ({"grid": True, "scheduler": "asha"}, "asha"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(GenlabError, match=says):
        plan(**options)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"space": {"lrr": uniform(0, 1)}}, "lr"),
        ({"space": {"lr": choice("a", "b")}}, "lr"),
        ({"space": {"lr": log_uniform(0.1, 0.2)}}, "default lr=0.01"),
        ({"space": {"epochs": integer(1, 3)}}, "epochs cannot be searched"),
        ({"name": "a/b"}, "letters"),
        ({"metric": "los"}, "loss"),
        ({"mode": "best"}, "min or max"),
        ({"task": "gann"}, "gan"),
        ({"task": 3}, "task"),
        ({"grace_epochs": 9, "trials": 10}, "epochs"),
        ({"conditions": {"lr": {"batch": [1]}}}, "batch"),
        ({"settings": {"lrr": 1.0}}, "lr"),
        ({"task": "gan", "metric": "kid", "space": {}, "grid": [{"batch_size": 33}]}, "batch_size=33"),
    ],
)
def test_bad_sweeps_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(GenlabError, match=says):
        plan(toy_sweep(**changes), **({"grid": True, "workers": 2} if "grid" in changes else {}))


def test_a_sweep_without_a_grid_is_told_how_to_have_one() -> None:
    with pytest.raises(GenlabError, match="the sweep 'toy' has no grid: give it one, or name choices by --set"):
        plan(toy_sweep(), grid=True)


def test_without_asha_there_is_no_first_rung() -> None:
    assert plan(toy_sweep(grace_epochs=9, trials=10), scheduler="fifo").epochs == 3


def test_a_stepped_range_holds_what_its_steps_nearly_are() -> None:
    assert plan(toy_sweep(space={"lr": FloatDistribution(0.1, 0.5, step=0.1)}, settings={"lr": 0.3})).default == {
        "lr": 0.3
    }


def test_what_results_follow_from_is_the_identity() -> None:
    same = plan().identity()
    assert plan(trials=30, lanes=3, address="x", cpus_per_worker=2).identity() == same
    others: list[dict[str, Any]] = [
        {"set": ("nz=7",)},
        {"workers": 2},
        {"seeds": 2},
        {"dataset": "mnist"},
        {"epochs": 3},
    ]
    for options in others:
        assert plan(**options).identity() != same


def test_a_task_of_the_script_is_known_by_its_config() -> None:
    made = plan(toy_sweep())
    assert made.kind is toys.ToyConfig and made.task is toys.Toy and made.script == "script.py"
    assert plan().task is None and plan().script is None


def test_folders_do_not_depend_on_where_ray_puts_a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert parse("x", ["--data-root", "../data"]).given() == {"data_root": str(tmp_path / "data")}


def test_the_latest_sweep_is_one_of_this_very_name(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    for name in ("toy-20260101-000000", "toy-20260102-000000-2", "toy-wide-20260103-000000", "toy-20260101"):
        records = Records.create(storage, manifest("toy", options={"trials": 2}))
        Path(records.storage.url).rename(tmp_path / name)
    found = resumed(toy_sweep(), Options(resume=LATEST), storage)
    assert found.name == "toy-20260102-000000-2"
    with pytest.raises(GenlabError, match=r"there is no sweep 't\.y'"):  # a dot is a dot
        resumed(toy_sweep(name="t.y"), Options(resume=LATEST), storage)
    found.append("start", options={"trials": 9, "lanes": 2})
    found.append("start", options={"trials": 30})
    assert Records.open(storage, found.name).options() == {"trials": 30, "lanes": 2}


def test_the_command_line() -> None:
    options = parse("x", ["--trials", "4", "--set", "nz=100", "ngf=32,64", "--resume", "--lanes", "2"])
    assert options == Options(trials=4, set=("nz=100", "ngf=32,64"), resume=LATEST, lanes=2)
    assert options.given() == {"trials": 4, "set": ("nz=100", "ngf=32,64"), "lanes": 2}
    assert parse("x", ["--set", "nz=100", "--seed", "3", "--set", "ngf=8"]).set == ("nz=100", "ngf=8")
    zeros = parse("x", ["--seed", "0", "--gpus-per-worker", "0", "--confirm", "0"]).given()
    assert zeros == {"seed": 0, "gpus_per_worker": 0.0, "confirm": 0}
    assert parse("x", ["--resume", "toy-1"]).resume == "toy-1"
    assert parse("x", ["--resume"]).resume == LATEST
    for bad in (
        ["--trials", "many"],
        ["--scheduler", "median"],
        ["--trails", "3"],
        ["--lanes", "0"],
        ["--gpus-per-worker", "1.5"],
    ):
        with pytest.raises((SystemExit, ValueError)):
            parse("x", bad)
