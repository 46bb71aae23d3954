"""The GAN and the classifier, trained for a few steps by the real loop on real digits."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from genlab.errors import DataError, GenlabError
from genlab.tasks import ClassifierConfig, GANConfig, Place, build
from genlab.tasks.classifier import ClassifierTask, rotate
from genlab.tasks.gan import GAN
from genlab.tracking.storage import Storage
from genlab.training import Loop, Trial, prepare, prepared_networks

SMALL: dict[str, Any] = {"ngf": 8, "ndf": 8, "nz": 8, "epoch_steps": 5, "evaluation_samples": 200, "judge_steps": 150}


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    return Storage(str(tmp_path_factory.mktemp("prepared")))


@pytest.fixture(scope="module")
def place(storage: Storage) -> Place:
    files, data = prepare(GAN, build(GANConfig, SMALL), Place(), storage)
    assert data["real"]["shape"] == [1197, 1, 32, 32]
    return Place(prepared=prepared_networks(files, Place(), storage))


def test_a_gan_reports_what_its_config_says(place: Place) -> None:
    config = build(GANConfig, SMALL)
    report = Trial(GAN, config, place).advance()[0]
    assert set(config.reports()) <= report.metrics.keys()
    assert all(np.isfinite(value) for value in report.metrics.values())
    assert report.metrics["sizes/real"] == 300 and report.metrics["sizes/generated"] == 200
    assert report.images["samples"].shape == (64, 32, 32, 1) and report.images["samples"].dtype == np.uint8
    assert len(report.steps["loss/generator"]) == 5


def test_the_judge_prefers_real_images(place: Place) -> None:
    """Real training images, put in the generator's place, are closer to the validation set than its first noise."""
    task = GAN(build(GANConfig, SMALL | {"evaluation_samples": 1000}), place)

    class Real(torch.nn.Module):
        """Answers noise with real images, in order."""

        def __init__(self) -> None:
            super().__init__()
            self.at = 0

        def forward(self, noise: torch.Tensor) -> torch.Tensor:
            images = task.train.images[self.at : self.at + len(noise)].float() / 127.5 - 1
            self.at += len(noise)
            return images

    with torch.no_grad():
        untrained = task.evaluate({k: n.eval() for k, n in task.networks().items()}, "validation").metrics
        judged = task.networks() | {"generator": Real()}
        real = task.evaluate({k: n.eval() for k, n in judged.items()}, "validation").metrics
    assert abs(real["kid"]) < untrained["kid"] / 20
    assert real["frechet_distance"] < untrained["frechet_distance"] / 5
    assert real["coverage"] > 0.9 > untrained["coverage"]
    assert real["classes_covered"] == 10
    assert real["class_entropy"] == pytest.approx(np.log(10), abs=0.05)


def test_the_discriminators_verdict_is_on_the_images_that_are_judged(place: Place) -> None:
    class Brightness(torch.nn.Module):
        """A verdict that anybody can check: a logit, the mean of an image in [-1, 1]."""

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean((1, 2, 3))

    class White(torch.nn.Module):
        def forward(self, noise: torch.Tensor) -> torch.Tensor:
            return torch.ones(len(noise), 1, 32, 32)

    task = GAN(build(GANConfig, SMALL), place)
    with torch.no_grad():
        seen = task.evaluate({"generator": White(), "discriminator": Brightness()}, "validation").metrics
    real = (task._held("validation").float() / 127.5 - 1).mean((1, 2, 3))
    assert seen["evaluation/score/real"] == pytest.approx(float(real.sigmoid().mean()), abs=1e-5)
    assert seen["evaluation/score/fake"] == pytest.approx(float(torch.ones(()).sigmoid()), abs=1e-6)


def test_images_that_cannot_be_shown_fail_where_they_are_made(place: Place) -> None:
    class Askew(GAN):
        def evaluate(self, networks: Any, split: str) -> Any:
            return dataclasses.replace(
                super().evaluate(networks, split), images={"samples": np.zeros((3, 8, 8), np.float32)}
            )

    trial = Trial(Askew, build(GANConfig, SMALL), place)
    with pytest.raises(GenlabError, match=r"'samples' are float32 \[3, 8, 8\]"):
        trial.part("0000", trial.advance(), {})


def painted(folder: Path, count: int) -> str:
    for i in range(count):
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((32, 32, 3), 2 * i, np.uint8)).save(folder / f"{i}.png")
    return f"image_folder:{folder}"


def test_a_folder_of_one_class_has_nothing_to_tell_apart_but_rotations(tmp_path: Path) -> None:
    """As faces come, in one folder below the root."""
    painted(tmp_path / "faces" / "aligned", 80)
    settings = {"dataset": f"image_folder:{tmp_path}/faces"}
    assert ClassifierTask(build(ClassifierConfig, settings), Place()).rotate
    with pytest.raises(DataError, match="no classes"):
        ClassifierTask(build(ClassifierConfig, settings | {"target": "labels"}), Place())
    GAN(build(GANConfig, settings), Place())


def test_too_few_images_to_compare_with_are_refused_at_once(tmp_path: Path) -> None:
    name = painted(tmp_path / "few", 40)
    with pytest.raises(DataError, match="4 validation images"):
        GAN(build(GANConfig, {"dataset": name}), Place())


def test_evaluation_repeats_itself(place: Place) -> None:
    loop = Loop(GAN(build(GANConfig, SMALL), place))
    loop.advance(1)
    assert loop.judge("validation") == loop.judge("validation")
    assert loop.judge("test") != loop.judge("validation")


def test_what_is_prepared_is_built_once_and_repaired(storage: Storage, place: Place) -> None:
    config = build(GANConfig, SMALL)
    files, _ = prepare(GAN, config, Place(), storage)
    path = Path(storage.where(files["judge"]))
    before, written = path.read_bytes(), path.stat().st_mtime_ns
    prepare(GAN, dataclasses.replace(config, ngf=16), Place(), storage)
    assert path.stat().st_mtime_ns == written
    path.write_bytes(before[:-10])
    prepare(GAN, config, Place(), storage)
    assert path.read_bytes() == before


def test_a_classifier_learns_digits() -> None:
    task = ClassifierTask(build(ClassifierConfig, {"epoch_steps": 200}), Place())
    report = Loop(task).advance(1)
    assert report.metrics["accuracy/clean"] > 0.9
    assert set(task.config.reports()) <= report.metrics.keys()


def test_a_classifier_without_labels_tells_rotations_apart() -> None:
    task = ClassifierTask(build(ClassifierConfig, {"epoch_steps": 150, "target": "rotation"}), Place())
    assert Loop(task).advance(1).metrics["accuracy/clean"] > 0.7


def test_rotate_turns_each_image_by_its_own_turns() -> None:
    images = torch.rand(5, 2, 6, 6)
    turns = torch.tensor([0, 1, 2, 3, 1])
    turned = rotate(images, turns)
    for image, turn, got in zip(images, turns, turned, strict=True):
        assert torch.equal(got, image.rot90(int(turn), (1, 2)))
