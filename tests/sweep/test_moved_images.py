"""A sweep whose folder of images lies elsewhere when it is resumed: the images are what counts, not their place."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from made_images import noise
from one_process import Machine, at, machine

from genlab.errors import GenlabError
from genlab.sweep import Sweep
from genlab.tracking.events import KINDS
from genlab.training import Checkpoint

__all__ = ["machine"]

SMALL = {"width": 4, "features": 4, "batch_size": 4, "epoch_steps": 1, "epochs": 2}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    for kind in range(2):
        for item in range(12):
            noise(tmp_path / "old" / f"class {kind}" / f"{item}.png", 100 * kind + item)
    return tmp_path / "old"


def classifier(folder: Path, **settings: Any) -> Sweep:
    """Three trials on the images of a folder."""
    named = {"dataset": f"image_folder:{folder}"}
    grid = [{"lr": 0.01}, {"lr": 0.1}]
    return Sweep(
        name="images",
        task="classifier",
        metric="accuracy/clean",
        mode="max",
        settings=SMALL | named | settings,
        grid=grid,
    )


def interrupted(machine: Machine, sweep: Sweep, **options: Any) -> None:
    """Begin it, and have it end before its second trial."""
    machine.before = at("0001", 2, lambda: {"kind": "cut", "value": "interrupted"})
    assert machine.run(sweep, grid=True, **options) == 130
    machine.before = lambda request: None


def data_of(machine: Machine) -> list[dict[str, Any]]:
    """What the last states of all trials say of their training data."""
    storage = machine.records.storage
    states = [trial.last.state for trial in machine.records.trials.values()]  # type: ignore[union-attr]
    return [Checkpoint.decode(storage.read_named(state), "state").data["labelled"] for state in states if state]


@pytest.mark.parametrize("how", ["the script says so", "by --dataset", "by --set", "below another root"])
def test_it_goes_on_with_the_same_images_elsewhere(how: str, machine: Machine, old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new place"
    sweep = classifier(old)
    if how == "below another root":
        sweep = classifier(Path("sub"))
        shutil.copytree(old, tmp_path / "root" / "sub")
        interrupted(machine, sweep, data_root=str(tmp_path / "root"))
        (tmp_path / "root").rename(new)
        assert machine.run(sweep, resume="latest", grid=True, data_root=str(new)) == 0
    else:
        interrupted(machine, sweep)
        old.rename(new)
        again: dict[str, Any] = {
            "the script says so": {},
            "by --dataset": {"dataset": f"image_folder:{new}"},
            "by --set": {"set": (f"dataset=image_folder:{new}",)},
        }[how]
        sweep = classifier(new if how == "the script says so" else old)
        assert machine.run(sweep, resume="latest", grid=True, **again) == 0
    assert machine.trained() == [("0001", 2), ("0002", 1), ("0002", 2)]
    assert {trial.ends for trial in machine.records.trials.values()} == {"completed"}
    assert len({one["digest"] for one in data_of(machine)}) == 1
    # and once more, with nothing left to do, from its new place
    assert machine.run(sweep, resume="latest", grid=True, **(again if how != "below another root" else {})) == 0
    assert machine.trained() == []


def test_one_that_is_gone_is_named_with_the_way_out(machine: Machine, old: Path, tmp_path: Path) -> None:
    interrupted(machine, classifier(old))
    events = len(machine.records.events)
    old.rename(tmp_path / "new")
    with pytest.raises(GenlabError) as refused:
        machine.run(classifier(old), resume="latest", grid=True)
    assert f"there is no folder {old}" in str(refused.value)
    assert "--dataset image_folder:FOLDER" in str(refused.value)
    assert len(machine.records.events) == events


def test_other_images_in_the_same_place_are_refused_by_their_digests(
    machine: Machine, old: Path, tmp_path: Path
) -> None:
    interrupted(machine, classifier(old))
    (known,) = data_of(machine)[:1]
    new = tmp_path / "new"
    shutil.copytree(old, new)
    noise(new / "class 0" / "0.png", 999)
    for folder in (new, old):
        if folder == old:
            noise(old / "class 0" / "0.png", 999)
        with pytest.raises(GenlabError, match="the data are not those that the sweep began with") as refused:
            machine.run(classifier(folder), resume="latest", grid=True)
        assert known["digest"] in str(refused.value) and "--dataset image_folder:FOLDER" in str(refused.value)
    assert not any(isinstance(event, KINDS["start"]) for event in machine.records.events)


def test_another_set_is_another_setting(machine: Machine, old: Path) -> None:
    interrupted(machine, classifier(old))
    with pytest.raises(GenlabError, match=r"another settings: dataset was image_folder:.*, now it is digits"):
        machine.run(classifier(old), resume="latest", grid=True, dataset="digits")
