"""What each option and each part of a sweep does to the plan; the other half of `test_plan.py`, which refuses."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from toys import toy_sweep

from genlab.errors import GenlabError
from genlab.sweep import Sweep, choice, integer, log_uniform, uniform
from genlab.sweep.options import LATEST, Options, parse
from genlab.sweep.plan import Plan, describe_resources, make
from genlab.tracking.schema import as_json

GAN = Sweep(
    name="gan",
    task="gan",
    metric="kid",
    space={"lr_generator": log_uniform(1e-4, 1e-2), "ngf": choice(16, 32)},
    settings={"nz": 7},
)


def plan(sweep: Sweep = GAN, **options: Any) -> Plan:
    return make(sweep, options, "script.py")


def changed(**changes: Any) -> Sweep:
    return dataclasses.replace(GAN, **changes)


def test_each_option_reaches_what_it_names() -> None:
    given = {"trials": 7, "epochs": 4, "dataset": "mnist", "seed": 9, "seeds": 2, "workers": 4, "confirm": 3}
    made = plan(**given, scheduler="fifo")
    config: Any = made.config({"ngf": 16})
    assert (config.epochs, config.dataset, config.seed, config.nz, config.ngf) == (4, "mnist", 9, 7, 16)
    assert (made.trials, made.epochs, made.seeds, made.workers, made.confirm) == (7, 4, 2, 4, 3)
    assert made.scheduler == "fifo" and made.epochs_in_words() == "4"
    assert made.options == {**given, "scheduler": "fifo"}


def test_what_is_not_said_is_as_documented() -> None:
    made = plan()
    assert (made.trials, made.seeds, made.workers, made.confirm, made.scheduler) == (12, 1, 1, 0, "asha")
    assert plan(changed(trials=30)).trials == 30 and plan(changed(trials=30), trials=5).trials == 5
    options = parse("x", [])
    assert options == Options() and options.given() == {} and options.storage == "./results"
    sweep = toy_sweep()
    assert (sweep.mode, sweep.grace_epochs, sweep.reduction_factor, sweep.epoch_deadline) == ("min", 1, 3, 3600)


def test_the_command_line_outweighs_the_script() -> None:
    assert plan(set=("nz=8",)).base["nz"] == 8
    assert plan(changed(settings={"epochs": 30}), epochs=5).epochs == 5
    assert plan(set=("epochs=6",)).epochs == 6
    with pytest.raises(GenlabError, match="epochs is given twice"):
        plan(set=("epochs=6",), epochs=6)
    with pytest.raises(GenlabError, match="dataset is given twice"):
        plan(set=("dataset=digits,mnist",), dataset="mnist")
    with pytest.raises(GenlabError, match="names ngf twice"):
        plan(set=("ngf=8,16", "ngf=32"))


def test_a_choice_of_the_command_line_joins_or_replaces_those_of_the_script() -> None:
    made = plan(set=("ngf=64,8,48",))
    assert set(made.space) == {"lr_generator", "ngf"}
    assert made.space["ngf"].choices == (64, 8, 48)  # type: ignore[attr-defined]
    assert made.default["ngf"] == 64
    assert set(plan(set=("nz=7,9",)).space) == {"lr_generator", "ngf", "nz"}


def test_a_sweep_may_look_for_the_most() -> None:
    assert plan(changed(mode="max")).sweep.mode == "max"


def test_a_grid_alone_needs_no_space() -> None:
    made = plan(changed(space={}, grid=[{"nz": 50}, {"nz": 7}, {"epochs": 2}]), grid=True, set=("ngf=8",))
    assert made.grid == [{"nz": 7, "epochs": 8}, {"nz": 50, "epochs": 8}, {"nz": 7, "epochs": 2}]
    assert made.trials == 3 and made.epochs_in_words() == "2 to 8"
    assert {made.config(row).ngf for row in made.grid} == {8}  # type: ignore[attr-defined]
    with_space = plan(changed(grid=[{"nz": 50}]), grid=True)
    assert with_space.space == {} and with_space.default == {} and with_space.trials == 2


def test_all_trials_may_train_just_the_epochs_of_grace() -> None:
    assert plan(changed(grace_epochs=5), epochs=5).epochs == 5
    with pytest.raises(GenlabError, match="4 epochs are fewer than the 5"):
        plan(changed(grace_epochs=5), epochs=4)


@pytest.mark.parametrize(
    ("distribution", "default", "holds"),
    [
        (uniform(0.1, 0.2), 0.1, True),
        (uniform(0.1, 0.2), 0.2, True),
        (uniform(0.1, 0.2), 0.0999, False),
        (uniform(0.1, 0.2), 0.2001, False),
        (FloatDistribution(0.1, 0.5, step=0.1), 0.25, False),
        (FloatDistribution(0.15, 0.55, step=0.1), 0.35, True),
        (choice(0.1, 0.2), 0.15, False),
    ],
)
def test_the_default_must_lie_in_its_range(distribution: Any, default: float, holds: bool) -> None:
    sweep = toy_sweep(space={"lr": distribution}, settings={"lr": default})
    if holds:
        assert plan(sweep).default == {"lr": default}
    else:
        with pytest.raises(GenlabError, match=f"the default lr={default}"):
            plan(sweep)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"space": {"nz": integer(0, 100)}}, "the space of 'gan': nz=0"),
        ({"space": {"nz": integer(1, 100), "loss": choice("hinge", "hing")}}, "the space of 'gan': loss='hing'"),
        ({"conditions": {"ngf": {"lr_generator": ["much"]}}}, "lr_generator='much'"),
        ({"conditions": {"nz": {"ngf": [32]}}}, "name .'nz'., which the space does not hold"),
        ({"conditions": {"ngf": {"nz": [7]}}}, "name .'nz'., which the space does not hold"),
        ({"conditions": {"ngf": {"lr_generator": [2e-4]}, "lr_generator": {"ngf": [32]}}}, "go in a circle: "),
    ],
)
def test_a_space_that_holds_what_cannot_be_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(GenlabError, match=says):
        plan(changed(**changes))


def test_a_condition_on_a_field_that_the_command_line_fixes_stays() -> None:
    conditions = {"ngf": {"lr_generator": [2e-4]}}
    assert set(plan(changed(conditions=conditions), set=("lr_generator=0.001",)).space) == {"ngf"}
    assert set(plan(changed(conditions=conditions), set=("ngf=8",)).space) == {"lr_generator"}


@pytest.mark.parametrize(
    ("distribution", "size"),
    [(integer(4, 12), 5), (integer(3, 13, step=2), 3), (IntDistribution(6, 8, step=1), 7), (choice(64, 32, 4), None)],
)
def test_every_batch_that_may_come_is_shared_equally(distribution: Any, size: int | None) -> None:
    """Two images for each worker are enough."""
    default = distribution.choices[0] if size is None else distribution.low
    sweep = changed(space={"batch_size": distribution}, settings={"batch_size": default})
    if size is None:
        assert plan(sweep, workers=2).workers == 2
    else:
        with pytest.raises(GenlabError, match=f"batch_size={size} cannot be shared by 2 workers"):
            plan(sweep, workers=2)


def test_everything_that_a_result_follows_from_is_in_the_identity() -> None:
    conditions = {"ngf": {"lr_generator": [2e-4]}}
    variants = [
        plan(),
        plan(changed(metric="frechet_distance")),
        plan(changed(mode="max")),
        plan(changed(settings={"nz": 8})),
        plan(changed(space={"lr_generator": log_uniform(1e-4, 1e-1), "ngf": choice(16, 32)})),
        plan(changed(space={"lr_generator": uniform(1e-4, 1e-2), "ngf": choice(16, 32)})),
        plan(changed(conditions=conditions)),
        plan(changed(grid=[{"nz": 50}]), grid=True),
        plan(changed(grid=[{"nz": 51}]), grid=True),
        plan(seed=1),
        plan(epochs=9),
        plan(workers=2),
        plan(seeds=2),
        plan(changed(grace_epochs=2)),
        plan(changed(reduction_factor=4)),
        plan(toy_sweep()),
    ]
    written = [json.dumps(as_json(made.identity()), sort_keys=True) for made in variants]
    assert len(set(written)) == len(variants)
    same = [plan(confirm=2, scheduler="fifo"), plan(set=("nz=7",)), plan(changed(trials=3, name="other"))]
    assert {json.dumps(as_json(made.identity()), sort_keys=True) for made in same} == {written[0]}
    # also fields that nobody named: another version of genlab may have another default
    assert plan().identity().settings["ngf"] == 32 and plan().identity().task == "GANConfig"


def test_the_digest_of_a_script_is_that_of_its_content(tmp_path: Path) -> None:
    script = tmp_path / "sweep.py"
    script.write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of FIPS 180-2
    assert make(toy_sweep(), {}, str(script)).script_digest() == digest
    assert make(toy_sweep(), {}, str(tmp_path / "gone.py")).script_digest() == ""
    assert make(GAN, {}, str(script)).script_digest() == ""  # genlab's own task is not in it


def test_a_folder_of_images_that_may_have_moved_is_one_that_all_trials_share() -> None:
    made = plan(changed(settings={"dataset": "image_folder:/now/here"}))
    assert made.places({"ngf": 16}) == {"dataset": "image_folder:/now/here"}
    assert made.places({"dataset": "image_folder:/of/this/row"}) == {}
    assert plan(dataset="mnist").places({"ngf": 16}) == {}


def test_resources_in_words() -> None:
    assert describe_resources({"CPU": 2, "GPU": 1}) == "2 CPUs and 1 GPU"
    assert describe_resources({"CPU": 1.0, "GPU": 0.5}) == "1 CPU and 0.5 GPUs"


@pytest.mark.parametrize(
    ("names", "least", "says"),
    [
        ("trials epochs lanes workers cpus-per-worker seeds", 1, "it must be at least 1"),
        ("confirm gpus-per-worker seed", 0, "it must not be negative"),
    ],
)
def test_too_little_is_refused(names: str, least: int, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name in names.split():
        assert parse("x", [f"--{name}", str(least)]).given() == {name.replace("-", "_"): least}
        with pytest.raises(SystemExit) as refused:
            parse("x", [f"--{name}={least - 1}"])
        assert refused.value.code == 2
        assert f"--{name} {least - 1}" in (printed := capsys.readouterr().err) and says in printed


@pytest.mark.parametrize(("gpus", "valid"), [(0.25, True), (1.0, True), (2.0, True), (1.5, False)])
def test_several_gpus_are_whole_ones(gpus: float, valid: bool) -> None:
    if valid:
        assert Options(gpus_per_worker=gpus).given() == {"gpus_per_worker": gpus}
    else:
        with pytest.raises(ValueError, match=r"--gpus-per-worker 1.5: above 1 it must be a whole number"):
            Options(gpus_per_worker=gpus)


def test_what_is_kept_for_a_resume_is_what_runs_and_not_where_or_whether(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    words = "--storage s3://here --address auto --dry-run --resume --grid --scheduler fifo --tracking-uri http://x:1"
    options = parse("x", [*words.split(), "--data-root", "~/data", "--dataset", "mnist"])
    assert (options.storage, options.address, options.dry_run, options.resume) == ("s3://here", "auto", True, LATEST)
    assert options.given() == {
        "grid": True,
        "scheduler": "fifo",
        "tracking_uri": "http://x:1",
        "data_root": "/home/somebody/data",
        "dataset": "mnist",
    }


def test_words_of_set_may_stand_anywhere() -> None:
    options = parse("x", ["--set", "nz=1", "--resume", "--set", "ngf=2", "loss=hinge", "--trials", "3", "--grid"])
    assert options == Options(set=("nz=1", "ngf=2", "loss=hinge"), resume=LATEST, trials=3, grid=True)


def test_ranges_are_what_their_names_say() -> None:
    assert uniform(0.5, 2.0) == FloatDistribution(0.5, 2.0)
    assert log_uniform(0.5, 2.0) == FloatDistribution(0.5, 2.0, log=True)
    assert integer(2, 10) == IntDistribution(2, 10) and integer(2, 10, step=4) == IntDistribution(2, 10, step=4)
    assert choice((16, 32), "a", 3).choices == ("16:32", "a", 3)
