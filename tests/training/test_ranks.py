"""Two ranks do what one process does on the whole batch. Compared relative to the largest value of each tensor."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import page_scripts
import pytest
import tiny_tasks
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from test_loop import SMALL, Unjudged
from tiny_tasks import Attacked, Conditional, PseudoLabels, Tiny, TinyConfig, TwoDomains
from torch import nn

from genlab.errors import GenlabError
from genlab.tasks import ClassifierConfig, Context, DAEConfig, GANConfig, PhasedTask, VAEConfig, build
from genlab.tasks.classifier import ClassifierTask
from genlab.tasks.dae import DAETask
from genlab.tasks.gan import GAN
from genlab.tasks.vae import VAETask
from genlab.training import Loop, Trial
from genlab.training.loop import SPEED


class WithoutBatchNorm:
    """So that a sample's gradient does not depend on the batch that it is in."""

    def networks(self) -> Mapping[str, Callable[[], nn.Module]]:
        def without(build: Callable[[], nn.Module]) -> nn.Module:
            network = build()
            for owner in list(network.modules()):
                for name, child in owner.named_children():
                    if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
                        setattr(owner, name, nn.Identity())
            return network

        return {name: lambda build=build: without(build) for name, build in super().networks().items()}  # type: ignore[misc]


class Plain(WithoutBatchNorm, Unjudged):
    """A GAN; with torch's own first weights, since at N(0, 0.02) the gradients would be 1e-8."""


class PlainClassifier(WithoutBatchNorm, ClassifierTask):
    pass


class FixedJudge(nn.Module):
    """Features that anybody can compute: the means of 8 × 8 squares of the first channel."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Linear(64, 10))

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.adaptive_avg_pool2d(images[:, :1], 8).flatten(1)


class Judged(GAN):
    def given(self) -> Mapping[str, nn.Module]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # every rank has the same
            return {"judge": FixedJudge()}


class Watched(Tiny):
    """Notes BatchNorm's mean as its evaluation finds it."""

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self.seen: list[torch.Tensor] = []

    def evaluate(self, networks: Any, split: str, epoch: int) -> Any:
        self.seen.append(networks["classifier"][1].running_mean.clone())
        return super().evaluate(networks, split, epoch)


class Ones(nn.Module):
    """Ones, whatever the images."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(images), 64)


class Dropped(Tiny):
    """With dropout of ones: what is dropped does not follow from the data."""

    def networks(self) -> Mapping[str, Callable[[], nn.Module]]:
        return {"classifier": lambda: nn.Sequential(Ones(), nn.Dropout(0.5), nn.Linear(64, 2))}


class OfImages(Tiny):
    """BatchNorm of the images themselves: its mean is linear in them, whatever the weights."""

    def networks(self) -> Mapping[str, Callable[[], nn.Module]]:
        return {"classifier": lambda: nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(64, 2))}


GAN_SETTINGS = SMALL | {"epoch_steps": 1, "batch_size": 32, "discriminator_steps": 2, "init": "default"}
CLASSIFIER_SETTINGS = {"epoch_steps": 1, "batch_size": 32, "width": 8}
VAE_SETTINGS = CLASSIFIER_SETTINGS | {"nz": 4, "augment": "crop_flip"}
JUDGED = build(GANConfig, SMALL | {"init": "default", "evaluation_samples": 75})  # an odd number
TASKS: dict[str, tuple[type[PhasedTask], Any]] = {
    "gan": (Plain, build(GANConfig, GAN_SETTINGS)),
    "share": (Plain, build(GANConfig, GAN_SETTINGS | {"reuse_fakes": True})),
    "spectral": (Plain, build(GANConfig, GAN_SETTINGS | {"spectral_norm": "both"})),
    "augmented": (Plain, build(GANConfig, GAN_SETTINGS | {"augment": "crop_flip", "loss": "hinge"})),
    "instance": (Plain, build(GANConfig, GAN_SETTINGS | {"normalization": "instance", "augment": "flip"})),
    "classifier": (PlainClassifier, build(ClassifierConfig, CLASSIFIER_SETTINGS | {"augment": "crop_flip"})),
    "rotations": (PlainClassifier, build(ClassifierConfig, CLASSIFIER_SETTINGS | {"target": "rotation"})),
    "vae": (VAETask, build(VAEConfig, VAE_SETTINGS)),
    "convolutional vae": (VAETask, build(VAEConfig, VAE_SETTINGS | {"architecture": "convolutional"})),
    "dae": (DAETask, build(DAEConfig, CLASSIFIER_SETTINGS)),
    "conditional": (Conditional, build(TinyConfig, {"epoch_steps": 1})),
    "transform": (Attacked, build(TinyConfig, {"epoch_steps": 1})),
    "two streams": (TwoDomains, build(TinyConfig, {"epoch_steps": 1})),
}


def found_by(context: Context, folder: Path) -> dict[str, Any]:
    """Everything that the tests below compare."""
    found: dict[str, Any] = {}
    for name, (kind, config) in TASKS.items():
        loop = Loop(kind(config, context))
        report = loop.advance(1)
        found[name] = {
            **{f"gradient/{n}/{i}": p.grad for n, own in loop.parameters.items() for i, p in enumerate(own)},
            **{f"step/{n}": torch.from_numpy(curve) for n, curve in report.steps.items()},
        }
        metrics = {n: value for n, value in report.metrics.items() if n not in SPEED}
        found[f"reports of {name}"] = metrics, report.first_step, list(report.steps)
    # one epoch of two steps of a network with BatchNorm
    watched = Watched(build(TinyConfig, {"epoch_steps": 2}), context)
    loop = Loop(watched)
    network: Any = loop.networks["classifier"]
    own: list[torch.Tensor] = []
    network[1].register_forward_hook(lambda m, *_: own.append(m.running_mean.clone()) if m.training else None)
    report = loop.advance(1)
    found["epoch"] = {
        "accuracy": report.metrics["accuracy"],
        "curve": report.steps["loss/label"].tolist(),
        "weights": [p.detach().clone() for p in loop.parameters["classifier"]],
        "before averaging": own[-1],
        "in the evaluation": watched.seen[0],
        "running mean": network[1].running_mean.clone(),
        "batches": network[1].num_batches_tracked.clone(),
    }
    loop = Loop(OfImages(build(TinyConfig, {"epoch_steps": 3}), context))
    loop.advance(1)
    found["mean of images"] = loop.networks["classifier"][0].running_mean.clone()  # type: ignore[index]
    loop = Loop(Unjudged(build(GANConfig, GAN_SETTINGS), context))
    loop.advance(1)
    found["state"] = {name: tensor.clone() for name, tensor in loop.save().tensors.items()}
    # dropout of ones
    loop = Loop(Dropped(build(TinyConfig, {"epoch_steps": 1}), context))
    dropped: list[torch.Tensor] = []
    loop.networks["classifier"][1].register_forward_hook(lambda m, i, o: dropped.append(o) if m.training else None)  # type: ignore[index]
    loop.advance(1)
    found["dropped"] = dropped[0]
    # evaluation of an odd number of items, whatever the training did
    fresh = Loop(Tiny(build(TinyConfig, {}), context))
    found["evaluation"] = fresh.evaluate("validation").metrics["accuracy"]
    found["evaluation of a gan"] = Loop(Judged(JUDGED, context)).evaluate("validation")
    # pseudo-labels
    loop = Loop(PseudoLabels(build(TinyConfig, {"epochs": 3}), context))
    for epoch in (1, 2):
        loop.advance(epoch)
    subset = loop.streams["first"].image_set
    found["pseudo-labels"] = {
        "indices": subset.indices,
        "labels": subset.labels,
        "batch": loop.batches["first"].global_batch,
    }
    found["scripts"] = {}
    for name in page_scripts.SCRIPTS:
        sweep = page_scripts.module(name, folder).SWEEP
        config = build(sweep.task.Config, {**sweep.settings, "epochs": 1, "epoch_steps": 3})
        (report,) = Trial(sweep.task, config, context).advance()
        metrics = {n: value for n, value in report.metrics.items() if n not in SPEED}
        found["scripts"][name] = metrics, list(report.steps), list(report.images)
    strided = (torch.arange(12) + 100 * context.rank).view(3, 4)[:, ::2]  # does not lie in memory as it reads
    asked: list[int] = []
    found["collectives of other kinds"] = {
        "strided": context.all_gather(strided),
        "bool": context.all_gather(torch.tensor([True, context.rank == 1])),
        "bytes": context.all_gather(torch.full((1, 2), 250 + context.rank, dtype=torch.uint8)),
        "double": context.all_reduce_mean(torch.tensor(1.0 + 2 * context.rank, dtype=torch.float64)),
        "mapped": {
            (count, chunk): context.map_shards(count, lambda items: asked.append(len(items)) or items * 3, chunk=chunk)
            for count, chunk in ((0, 3), (1, 1), (2, 3), (5, 2), (250, 250), (501, 250))
        },
        "right": context.map_shards(5, lambda items: items % 2 == 0),
        "rows": context.map_shards(3, lambda items: items[:, None, None].expand(-1, 2, 4).double()),
    }
    found["largest chunk"] = max(asked)
    given = torch.tensor([1.0, 4.0]) * (1 + context.rank)
    found["collectives"] = {
        "gathered": context.all_gather(torch.arange(3) + 10 * context.rank),
        "mean": context.all_reduce_mean(given),
        "given": given,
        "mapped": context.map_shards(7, lambda items: torch.stack((items, items**2), 1), chunk=2),
    }
    return found


def on_a_rank(rank: int, world_size: int, folder: str) -> None:
    if world_size > 1:
        store = dist.FileStore(os.path.join(folder, "store"), world_size)  # type: ignore[attr-defined]
        dist.init_process_group("gloo", store=store, rank=rank, world_size=world_size)
    own = Path(folder) / f"{world_size}-{rank}"
    own.mkdir()
    torch.save(found_by(Context(rank, world_size), own), own.with_suffix(".pt"))
    if world_size > 1:
        dist.barrier()  # a rank that leaves early would break off what the other still hears
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Any]:
    """By one process, and by each of two ranks."""
    folder: Path = tmp_path_factory.mktemp("ranks")
    on_a_rank(0, 1, str(folder))
    mp.spawn(on_a_rank, (2, str(folder)), nprocs=2)  # type: ignore[attr-defined]
    alone, *ranks = [torch.load(folder / name, weights_only=False) for name in ("1-0.pt", "2-0.pt", "2-1.pt")]
    return alone, *ranks


@pytest.mark.parametrize("task", TASKS)
def test_gradients_losses_and_scores_are_those_of_one_process(found: tuple[Any, Any, Any], task: str) -> None:
    alone, *ranks = found
    assert any(name.startswith("step/") for name in alone[task])
    for name, value in alone[task].items():
        largest = float(value.abs().max())
        assert largest > 1e-6, name
        for rank in ranks:
            assert float((rank[task][name] - value).abs().max()) < 2e-4 * largest, name


@pytest.mark.parametrize("task", TASKS)
def test_what_is_reported_is_of_all_ranks_and_the_same_on_each(found: tuple[Any, Any, Any], task: str) -> None:
    """Losses and scores are the means over the ranks, and an accuracy is that on all images."""
    alone, *ranks = (each[f"reports of {task}"] for each in found)
    assert ranks[0] == ranks[1] and ranks[0][1:] == alone[1:]
    assert ranks[0][0].keys() == alone[0].keys() and any(name.startswith("loss/") for name in alone[0])
    for name, value in alone[0].items():
        slack = 0.01 if name.startswith("accuracy") else 2e-4 * max(abs(value), 1e-2)
        assert ranks[0][0][name] == pytest.approx(value, abs=slack), name


def test_a_gan_is_evaluated_on_all_images_whatever_the_ranks(found: tuple[Any, Any, Any]) -> None:
    alone, *ranks = (each["evaluation of a gan"] for each in found)
    assert alone.metrics["sizes/generated"] == alone.metrics["sizes/real"] == 75
    assert ranks[0].metrics == ranks[1].metrics and ranks[0].metrics.keys() == alone.metrics.keys()
    for name, value in alone.metrics.items():
        assert ranks[0].metrics[name] == pytest.approx(value, rel=1e-3), name
    for rank in ranks:
        assert rank.images["samples"].shape == (64, 32, 32, 1)
        assert abs(rank.images["samples"].astype(int) - alone.images["samples"]).max() <= 1


def test_ranks_agree_on_weights_metrics_and_running_statistics(found: tuple[Any, Any, Any]) -> None:
    _, one, other = (each["epoch"] for each in found)
    assert one["accuracy"] == other["accuracy"] and one["curve"] == other["curve"]
    assert all(torch.equal(a, b) for a, b in zip(one["weights"], other["weights"], strict=True))
    assert not torch.equal(one["before averaging"], other["before averaging"])
    mean = (one["before averaging"] + other["before averaging"]) / 2
    for rank in (one, other):
        torch.testing.assert_close(rank["running mean"], mean, rtol=1e-5, atol=1e-7)
        assert torch.equal(rank["in the evaluation"], rank["running mean"])
        assert int(rank["batches"]) == 2


def test_running_statistics_are_each_ranks_own_until_the_epoch_ends(found: tuple[Any, Any, Any]) -> None:
    """So that their mean is that of all images, as one process has it."""
    alone, *ranks = (each["mean of images"] for each in found)
    for rank in ranks:
        torch.testing.assert_close(rank, alone, rtol=1e-5, atol=0)


def test_all_networks_end_an_epoch_alike_on_all_ranks(found: tuple[Any, Any, Any]) -> None:
    """Weights, optimizers and BatchNorm's statistics, of every network."""
    _, one, other = (each["state"] for each in found)
    assert {name.split("/")[1] for name in one if "running_mean" in name} == {"generator", "discriminator"}
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("name", page_scripts.SCRIPTS)
def test_the_scripts_of_the_page_train_on_two_ranks(found: tuple[Any, Any, Any], name: str) -> None:
    """Both report the same, and what one process does: the numbers themselves follow from each rank's own BatchNorm."""
    alone, *ranks = (each["scripts"][name] for each in found)
    assert ranks[0] == ranks[1] and alone[0].keys() == ranks[0][0].keys() and alone[1:] == ranks[0][1:]


def test_dropout_differs_from_rank_to_rank(found: tuple[Any, Any, Any]) -> None:
    _, one, other = (each["dropped"] for each in found)
    assert set(one.unique().tolist()) == {0.0, 2.0}
    assert one.shape == other.shape and not torch.equal(one, other)


def test_an_odd_number_of_items_is_evaluated_once_each(found: tuple[Any, Any, Any]) -> None:
    alone, *ranks = (each["evaluation"] for each in found)
    assert ranks == [alone, alone]
    assert alone * 21 == pytest.approx(round(alone * 21))  # none counts twice


def test_streams_are_replaced_alike_on_all_ranks(found: tuple[Any, Any, Any]) -> None:
    _, one, other = (each["pseudo-labels"] for each in found)
    assert torch.equal(one["indices"], other["indices"]) and torch.equal(one["labels"], other["labels"])
    assert one["batch"] == 8


def test_collectives(found: tuple[Any, Any, Any]) -> None:
    alone, *ranks = (each["collectives"] for each in found)
    expected = torch.tensor([[i, i * i] for i in range(7)])
    assert torch.equal(alone["mapped"], expected) and alone["gathered"].tolist() == [0, 1, 2]
    for rank in ranks:
        assert rank["gathered"].tolist() == [0, 1, 2, 10, 11, 12]
        assert rank["mean"].tolist() == [1.5, 6.0]
        assert rank["given"].tolist() in ([1.0, 4.0], [2.0, 8.0])  # as it was
        assert torch.equal(rank["mapped"], expected)


def test_collectives_of_other_types_shapes_and_counts(found: tuple[Any, Any, Any]) -> None:
    alone, *ranks = (each["collectives of other kinds"] for each in found)
    of_rank = torch.tensor([[0, 2], [4, 6], [8, 10]])
    for each, gathered in ((alone, of_rank), *((rank, torch.cat((of_rank, of_rank + 100))) for rank in ranks)):
        assert torch.equal(each["strided"], gathered)
        for (count, _), mapped in each["mapped"].items():
            assert torch.equal(mapped, 3 * torch.arange(count))
        assert each["right"].tolist() == [True, False, True, False, True]
        assert torch.equal(each["rows"], torch.arange(3.0, dtype=torch.float64)[:, None, None].expand(3, 2, 4))
    for rank in ranks:
        assert rank["bool"].tolist() == [True, False, True, True]
        assert rank["bytes"].tolist() == [[250, 250], [251, 251]]
        assert rank["double"].dtype == torch.float64 and float(rank["double"]) == 2.0
    assert [each["largest chunk"] for each in found] == [250, 250, 250]  # 501 items: 251 a rank


def test_each_rank_takes_its_slice_of_the_same_whole() -> None:
    """Of batches and of samples."""
    seen: dict[int, list[Any]] = {}
    for world_size, rank in ((1, 0), (2, 0), (2, 1)):
        loop = Loop(Conditional(build(TinyConfig, {}), Context()))
        loop.context = Context(rank=rank, world_size=world_size)
        loop.batches = {name: loop._batches(name, stream) for name, stream in loop.streams.items()}
        samplers = {("generator", name): torch.Generator().manual_seed(3) for name in ("latent", "label")}
        samplers |= {("discriminator", name): torch.Generator().manual_seed(4) for name in ("latent", "label")}
        inputs = loop._draw(loop.phases[0], 0, samplers, torch.tensor(0.0))
        seen[10 * world_size + rank] = [
            inputs["first"].images,
            inputs["first"].labels,
            inputs["latent"],
            inputs["label"],
        ]
    for whole, one, other in zip(seen[10], seen[20], seen[21], strict=True):
        assert len(one) == 4 and torch.equal(whole, torch.cat((one, other)))


def test_a_batch_that_leaves_one_image_to_a_rank_is_refused() -> None:
    with pytest.raises(GenlabError, match="a batch of first has 2 images for 2 workers"):
        Loop(Tiny(build(TinyConfig, {"batch_size": 2}), Context(rank=0, world_size=2)))
    few = tiny_tasks.noise_images("few", 3)

    class Few(Tiny):
        def streams(self) -> Any:
            return {"first": tiny_tasks.Stream(few)}

    with pytest.raises(GenlabError, match="two at least"):
        Loop(Few(build(TinyConfig, {}), Context(rank=0, world_size=2)))
