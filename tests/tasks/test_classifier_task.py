"""The classifier task on real digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_gan_task import painted
from torch import Tensor, nn

from genlab.errors import DataError
from genlab.randomness import generator as seeded
from genlab.tasks import ClassifierConfig, Context, Report, build
from genlab.tasks.classifier import ClassifierTask, rotate
from genlab.training import Loop


def task(**settings: Any) -> ClassifierTask:
    return ClassifierTask(build(ClassifierConfig, settings), Context())


def test_it_learns_digits() -> None:
    one = task(epoch_steps=200)
    report = Loop(one).advance(1)
    assert report.metrics["accuracy/clean"] > 0.9
    assert set(one.config.reports()) == report.metrics.keys()


def test_without_labels_it_tells_rotations_apart() -> None:
    assert Loop(task(epoch_steps=150, target="rotation")).advance(1).metrics["accuracy/clean"] > 0.7


def test_accuracy_is_on_what_it_has_not_seen_and_on_the_split_that_was_asked_for() -> None:
    """A network that knows the training images by heart, and nothing else, is right on none of the others."""
    one = task()
    known = one.initial_streams["labelled"].image_set
    assert known.labels is not None
    table = {
        tuple(image.flatten().tolist()): int(label) for image, label in zip(known.images, known.labels, strict=True)
    }

    class ByHeart(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            keys = [tuple((image * 255).round().to(torch.uint8).flatten().tolist()) for image in images]
            return nn.functional.one_hot(torch.tensor([table.get(key, 10) for key in keys]), 11).float()

    def accuracy(split: str) -> float:
        return one.evaluate({"classifier": ByHeart()}, split, 1).metrics["accuracy/clean"]

    assert accuracy("train") == 1.0
    assert accuracy("validation") == 0.0 and accuracy("test") == 0.0


def test_the_config_reaches_networks_streams_and_optimizer() -> None:
    one = task(width=6, features=9, image_size=64, augment="crop_flip", lr=3e-3, beta1=0.7, beta2=0.8, dataset="digits")
    network = one.networks()["classifier"]()
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert [each.out_channels for each in convolutions] == [3, 3, 6, 12]
    assert network(torch.rand(2, 1, 64, 64)).shape == (2, 10)
    assert [m.out_features for m in network.modules() if isinstance(m, nn.Linear)] == [9, 10]
    assert one.streams()["labelled"].augment == "crop_flip"
    (phase,) = one.phases()
    adam: Any = phase.updates["classifier"]
    assert (adam.lr, adam.beta1, adam.beta2) == (3e-3, 0.7, 0.8)
    assert phase.draws == ("labelled",) and task(target="rotation").phases()[0].draws == ("labelled", "turns")
    assert task(target="rotation").networks()["classifier"]()(torch.rand(2, 1, 32, 32)).shape == (2, 4)


def test_an_epochs_accuracy_is_that_of_the_trained_network_on_all_images_of_the_split() -> None:
    loop = Loop(task(epoch_steps=30, width=4))
    reported = loop.advance(1).metrics["accuracy/clean"]
    network = loop.networks["classifier"].eval()
    for split, accuracy in (("validation", reported), ("test", loop.evaluate("test").metrics["accuracy/clean"])):
        images = Context().load("digits", split)
        assert images.labels is not None
        right = network(images.select(torch.arange(300))).argmax(1) == images.labels
        assert 0.3 < accuracy == pytest.approx(float(right.float().mean()), abs=1e-6)


@pytest.mark.parametrize("target", ["auto", "rotation"])
def test_an_epoch_shows_the_images_that_the_network_finds_hardest(target: str) -> None:
    """As it saw them: those to whose label it gives the least chance, the worst first."""
    loop = Loop(task(epoch_steps=20, width=4, target=target))
    shown = loop.advance(1).images["hardest"]
    images, network = Context().load("digits", "validation"), loop.networks["classifier"].eval()
    truth, seen = images.labels, images.select(torch.arange(300))
    if target == "rotation":
        truth = loop.task.sample("turns", 300, seeded(0, "evaluation"))  # type: ignore[attr-defined]
        seen = torch.stack([image.rot90(int(turn), (1, 2)) for image, turn in zip(seen, truth, strict=True)])
    with torch.no_grad():
        loss = nn.functional.cross_entropy(network(seen), truth, reduction="none")
    worst = seen[loss.argsort(descending=True, stable=True)[:16]]
    np.testing.assert_array_equal(shown, (worst * 255).round().to(torch.uint8).permute(0, 2, 3, 1))


def test_what_auto_rotates_is_turned_in_training_and_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same as where rotations were asked for."""
    monkeypatch.setattr(ClassifierTask, "rotates", True)
    shown: list[Tensor] = []
    for target in ("auto", "rotation"):
        loop = Loop(task(target=target, epoch_steps=1, width=4))
        seen: list[Tensor] = []
        loop.networks["classifier"].register_forward_pre_hook(
            lambda module, inputs, seen=seen: seen.append(inputs[0].clone())  # type: ignore[attr-defined]
        )
        loop.advance(1)
        shown.append(torch.cat(seen))
    assert len(shown[0]) > 300 and torch.equal(*shown)
    straight = Loop(task(epoch_steps=1)).task._load("validation").images[:250]  # type: ignore[attr-defined]
    assert not torch.equal(shown[0][64:314] * 255, straight.float())


def test_an_evaluation_gives_each_image_one_rotation_for_good() -> None:
    one = task(target="rotation")
    seen: list[list[Tensor]] = []

    class Spy(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            seen[-1].append(images.clone())
            return torch.zeros(len(images), 4)

    for epoch in (1, 2):
        seen.append([])
        accuracy = one.evaluate({"classifier": Spy()}, "validation", epoch).metrics["accuracy/clean"]
        assert accuracy == pytest.approx(0.25, abs=0.08)  # all four are as frequent
    assert torch.equal(torch.cat(seen[0]), torch.cat(seen[1]))


def test_all_four_turns_are_as_frequent() -> None:
    turns = task(target="rotation").sample("turns", 4000, torch.Generator().manual_seed(0))
    assert turns.dtype == torch.int64
    assert turns.bincount(minlength=4).tolist() == [pytest.approx(1000, abs=150)] * 4


def test_data_are_found_below_the_root_of_the_context(tmp_path: Path) -> None:
    painted(tmp_path / "faces", 40)
    one = ClassifierTask(build(ClassifierConfig, {"dataset": "image_folder:faces"}), Context(data_root=str(tmp_path)))
    assert one.data["labelled"].shape[1:] == (3, 32, 32)


def test_a_folder_of_one_class_has_nothing_to_tell_apart_but_rotations(tmp_path: Path) -> None:
    """As faces come, in one folder below the root."""
    painted(tmp_path / "faces" / "aligned", 80)
    settings = {"dataset": f"image_folder:{tmp_path}/faces"}
    assert task(**settings).rotates
    assert isinstance(Loop(task(**settings, epoch_steps=1)).advance(1), Report)
    with pytest.raises(DataError, match="no classes"):
        Loop(task(**settings, target="labels"))


def test_rotate_turns_each_image_by_its_own_turns() -> None:
    images = torch.rand(5, 2, 6, 6)
    turns = torch.tensor([0, 1, 2, 3, 1])
    turned = rotate(images, turns)
    for image, turn, got in zip(images, turns, turned, strict=True):
        assert torch.equal(got, image.rot90(int(turn), (1, 2)))
