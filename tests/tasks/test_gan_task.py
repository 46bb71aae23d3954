"""The GAN task on real digits: what its config changes, and how generated images are judged."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from genlab.errors import DataError, GenlabError
from genlab.losses import ADVERSARIAL
from genlab.metrics import frechet_distance, kernel_distance, prdc
from genlab.randomness import generator as seeded
from genlab.tasks import ClassifierConfig, Context, GANConfig, Inputs, Report, build
from genlab.tasks.classifier import ClassifierTask
from genlab.tasks.gan import GAN, discriminator_loss, generator_loss
from genlab.tasks.images import from_figure, quantize, to_signed, to_uint8, to_unit
from genlab.tracking.storage import Storage
from genlab.training import Loop, Trial, prepare, prepared

SMALL: dict[str, Any] = {"ngf": 8, "ndf": 8, "nz": 8, "epoch_steps": 5, "evaluation_samples": 200, "judge_steps": 150}


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    storage, config = Storage(str(tmp_path_factory.mktemp("prepared"))), build(GANConfig, SMALL)
    made = prepare(GAN, [config], Context(), storage)
    assert made.data["real"][0]["shape"] == [1197, 1, 32, 32]
    (metrics,) = made.metrics.values()
    assert metrics["accuracy/clean"] > 0.9
    return Context(prepared=prepared(config, made.files, Context(), storage))


def judge(context: Context) -> Any:
    return context.prepared["judge"].networks["classifier"]


def networks(task: GAN, **others: nn.Module) -> dict[str, Any]:
    """The task's own, untrained, and the judge, some of them replaced."""
    return {**{name: build() for name, build in task.networks().items()}, **task.given(), **others}


def evaluated(task: GAN, **others: nn.Module) -> Report:
    with torch.no_grad():
        every = networks(task, **others)
        for network in every.values():
            network.eval()
        return task.evaluate(every, "validation", 1)


def test_it_reports_what_its_config_says(context: Context) -> None:
    config = build(GANConfig, SMALL)
    report = Trial(GAN, config, context).advance()[0]
    assert set(config.reports()) == {name for name in report.metrics if not name.startswith("sizes/")}
    assert all(np.isfinite(value) for value in report.metrics.values())
    assert report.images["samples"].shape == (64, 32, 32, 1) and report.images["samples"].dtype == np.uint8
    assert len(report.steps["loss/generator"]) == 5


class Real(nn.Module):
    """Answers latents with real images, in order, and over again."""

    def __init__(self, task: GAN, split: str = "train") -> None:
        super().__init__()
        self.images, self.at = task._load(split), 0

    def forward(self, latent: Tensor) -> Tensor:
        items = torch.arange(self.at, self.at + len(latent)) % len(self.images)
        self.at += len(latent)
        return to_signed(self.images.select(items))


def test_the_judge_prefers_real_images(context: Context) -> None:
    task = GAN(build(GANConfig, SMALL | {"evaluation_samples": 1000}), context)
    untrained, real = evaluated(task).metrics, evaluated(task, generator=Real(task)).metrics
    assert abs(real["kid"]) < untrained["kid"] / 20
    assert real["frechet_distance"] < untrained["frechet_distance"] / 5
    assert real["coverage"] > 0.9 > untrained["coverage"]
    assert real["classes_covered"] == 10
    assert real["class_entropy"] == pytest.approx(np.log(10), abs=0.05)


def test_a_collapsed_generator_covers_one_class(context: Context) -> None:
    task = GAN(build(GANConfig, SMALL), context)

    class One(nn.Module):
        def forward(self, latent: Tensor) -> Tensor:
            images = task.initial_streams["real"].image_set
            return to_signed(images.select(torch.zeros(len(latent), dtype=torch.int64)))

    collapsed = evaluated(task, generator=One()).metrics
    assert collapsed["classes_covered"] == 1 and collapsed["class_entropy"] == 0
    assert collapsed["recall"] < 0.05 and collapsed["precision"] > 0.9


@pytest.mark.parametrize(("samples", "compared", "real"), [(200, 200, 200), (1000, 300, 300)])
def test_biased_measures_compare_sets_of_equal_size(context: Context, samples: int, compared: int, real: int) -> None:
    """Against the measures computed by hand: digits have 300 validation images. Drawn ones are real, with noise."""
    task = GAN(build(GANConfig, SMALL | {"evaluation_samples": samples}), context)

    class Noisy(nn.Module):
        def forward(self, latent: Tensor) -> Tensor:
            items = (latent[:, 0].abs() * 1e4).long() % 1000
            noise = torch.randn(len(latent), 1, 32, 32, generator=torch.Generator().manual_seed(0))
            return (
                to_signed(task.initial_streams["real"].image_set.select(items)) + noise * latent[:, :1, None, None] / 4
            )

    every = networks(task, generator=Noisy())
    for network in every.values():
        network.eval()
    with torch.no_grad():
        seen = task.evaluate(every, "validation", 1).metrics
        latent = task.sample("latent", samples, seeded(task.config.seed, "evaluation"))
        fakes = judge(context).features(
            torch.cat([quantize(to_unit(every["generator"](z))) for z in latent.split(250)])
        )
        images = task._load("validation")
        order = torch.randperm(300, generator=seeded(0, "reference"))[:samples]
        reals = judge(context).features(images.select(order))
    assert (seen["sizes/generated"], seen["sizes/real"], seen["sizes/compared"]) == (samples, real, compared)
    assert seen["sizes/features"] == 64
    assert seen["frechet_distance"] == pytest.approx(
        float(frechet_distance(reals[:compared], fakes[:compared])), rel=1e-3
    )
    assert seen["kid"] == pytest.approx(float(kernel_distance(reals, fakes)), rel=1e-3)
    for name, value in prdc(reals[:compared], fakes[:compared])._asdict().items():
        assert float(value) > 0.02 and seen[name] == pytest.approx(float(value), rel=1e-3), name


def test_another_classifier_may_judge(context: Context, tmp_path: Path) -> None:
    """From its checkpoint; a judge of other classes says nothing about those of the data."""
    trial = Trial(
        ClassifierTask, build(ClassifierConfig, {"epoch_steps": 1, "width": 4, "target": "rotation"}), Context()
    )
    trial.advance()
    path = tmp_path / "judge.safetensors"
    path.write_bytes(trial.checkpoint().encode())
    config, storage = build(GANConfig, SMALL | {"judge": str(path)}), Storage(str(tmp_path))
    made = prepare(GAN, [config], Context(), storage)
    task = GAN(config, Context(prepared=prepared(config, made.files, Context(), storage)))
    metrics = evaluated(task).metrics
    assert np.isfinite(metrics["kid"]) and "classes_covered" not in metrics
    assert metrics["kid"] != evaluated(GAN(build(GANConfig, SMALL), context)).metrics["kid"]


def test_real_features_are_computed_once(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop(GAN(build(GANConfig, SMALL), context))
    counts: list[int] = []
    features = judge(context).features
    monkeypatch.setattr(judge(context), "features", lambda images: counts.append(len(images)) or features(images))
    loop.advance(1)
    loop.advance(2)
    assert sum(counts) == 200 + 2 * 200  # the real ones, and each epoch's


def test_generated_images_reach_the_judge_with_256_levels(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    features = judge(context).features
    monkeypatch.setattr(judge(context), "features", lambda images: seen.append(images) or features(images))
    task = GAN(build(GANConfig, SMALL), context)
    report = evaluated(task)
    assert len(seen) == 2
    for images in seen:
        levels = images * 255
        assert float((levels - levels.round()).abs().max()) < 1e-4 and float(images.min()) >= 0
    # and the same pixels are shown
    shown = torch.from_numpy(report.images["samples"]).permute(0, 3, 1, 2)
    torch.testing.assert_close(seen[0][:64] * 255, shown.float(), rtol=0, atol=1e-3)


def test_the_discriminators_verdict_is_on_the_images_that_are_judged(context: Context) -> None:
    class Brightness(nn.Module):
        """A verdict that anybody can check: a logit, the mean of an image in [-1, 1]."""

        def forward(self, images: Tensor) -> Tensor:
            return images.mean((1, 2, 3))

    class White(nn.Module):
        def forward(self, latent: Tensor) -> Tensor:
            return torch.ones(len(latent), 1, 32, 32)

    task = GAN(build(GANConfig, SMALL | {"evaluation_samples": 100}), context)
    seen = evaluated(task, generator=White(), discriminator=Brightness()).metrics
    images = task._load("validation").images[torch.randperm(300, generator=seeded(0, "reference"))[:100]]
    real = (images.float() / 127.5 - 1).mean((1, 2, 3))
    assert seen["evaluation/score/real"] == pytest.approx(float(real.sigmoid().mean()), abs=1e-5)
    assert seen["evaluation/score/fake"] == pytest.approx(float(torch.ones(()).sigmoid()), abs=1e-6)


@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize("loss", ["non_saturating", "least_squares"])
def test_verdicts_are_on_the_split_asked_for(split: str, loss: str) -> None:
    """As probabilities, or raw where the loss knows none."""

    class Brightness(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.mean((1, 2, 3))

    class Noise(nn.Module):
        def forward(self, latent: Tensor) -> Tensor:
            return latent[:, :1, None, None].tanh().expand(-1, 1, 32, 32)

    class Judge(nn.Module):
        head = nn.Sequential(nn.Linear(4, 3))

        def features(self, images: Tensor) -> Tensor:
            return images[:, 0, ::8, 3:4].flatten(1) + torch.rand(len(images), 4) / 100

    task = GAN(build(GANConfig, {"evaluation_samples": 64, "loss": loss}), Context())
    every = {"judge": Judge(), "generator": Noise(), "discriminator": Brightness()}
    with torch.no_grad():
        seen = task.evaluate(every, split, 1).metrics
    images = task._load(split)
    on_real = to_signed(images.select(torch.randperm(len(images), generator=seeded(0, "reference"))[:64])).mean(
        (1, 2, 3)
    )
    on_fake = task.sample("latent", 64, seeded(0, "evaluation"))[:, 0].tanh()
    for name, verdicts in (("real", on_real), ("fake", on_fake)):
        expected = verdicts.sigmoid() if loss == "non_saturating" else verdicts
        assert seen[f"evaluation/score/{name}"] == pytest.approx(float(expected.mean()), abs=1e-6)


@pytest.mark.parametrize(("split", "other"), [("validation", "test"), ("test", "validation")])
def test_images_are_at_no_distance_from_the_split_that_they_are(split: str, other: str) -> None:
    """All 300 of it, whatever the order; and at some from the other split, which is asked about first."""
    task = GAN(build(GANConfig, {"evaluation_samples": 300}), Context())

    def measured(against: str) -> dict[str, float]:
        verdict = {"discriminator": lambda images: images.mean((1, 2, 3))}
        return task.evaluate({"judge": Pooled(), "generator": Real(task, split), **verdict}, against, 1).metrics

    far, near = measured(other), measured(split)
    assert near["sizes/compared"] == far["sizes/compared"] == 300
    assert abs(near["frechet_distance"]) < 1e-3 * far["frechet_distance"]
    # the unbiased estimate, where every image meets itself in the other set, is below zero
    assert near["kid"] < 0 and near["kid"] < far["kid"]
    assert all(near[name] == 1 > far[name] for name in ("precision", "recall", "coverage"))


def test_evaluation_repeats_itself_and_reads_the_split_that_is_asked_for(context: Context) -> None:
    loop = Loop(GAN(build(GANConfig, SMALL), context))
    loop.advance(1)
    validation, test = loop.evaluate("validation"), loop.evaluate("test")
    assert loop.evaluate("validation").metrics == validation.metrics != test.metrics
    assert np.array_equal(test.images["samples"], validation.images["samples"])  # the same latents, also for `test`
    assert loop.task._load("test").split == "test"  # type: ignore[attr-defined]


def test_an_epochs_report_is_of_the_networks_that_it_ended_with(context: Context) -> None:
    """In evaluation mode: the images shown are those of the trained generator, the verdicts those of its judge."""
    loop = Loop(GAN(build(GANConfig, SMALL | {"epoch_steps": 3, "seed": 3, "init": "default"}), context))
    for epoch in (1, 2):
        report = loop.advance(epoch)
        generator, discriminator = (loop.networks[name].eval() for name in ("generator", "discriminator"))
        latent = loop.task.sample("latent", 200, seeded(3, "evaluation"))
        with torch.no_grad():
            images = torch.cat([generator(some) for some in latent.split(100)])
            verdict = torch.cat([discriminator(some) for some in images.split(100)]).sigmoid().mean()
        assert abs(report.images["samples"].astype(int) - to_uint8(to_unit(images[:64]))).max() <= 1
        assert report.metrics["evaluation/score/fake"] == pytest.approx(float(verdict), rel=1e-4)


def test_images_that_cannot_be_shown_fail_where_they_are_made(context: Context) -> None:
    class Askew(GAN):
        def evaluate(self, networks: Any, split: str, epoch: int) -> Report:
            report = super().evaluate(networks, split, epoch)
            return dataclasses.replace(report, images={"samples": np.zeros((3, 8, 8), np.float32)})

    with pytest.raises(GenlabError, match=r"an array float32 \[3, 8, 8\] as images 'samples'"):
        Trial(Askew, build(GANConfig, SMALL), context).advance()


def painted(folder: Path, count: int) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.fromarray(np.full((32, 32, 3), 2 * i, np.uint8)).save(folder / f"{i}.png")
    return f"image_folder:{folder}"


def test_too_few_images_to_compare_with_are_refused_at_once(tmp_path: Path, context: Context) -> None:
    name = painted(tmp_path / "few", 40)
    with pytest.raises(DataError, match="4 validation images"):
        Loop(GAN(build(GANConfig, {"dataset": name}), context))


@pytest.mark.parametrize(("validation", "test", "says"), [(5, 6, "5 validation"), (6, 5, "5 test"), (6, 6, "")])
def test_six_images_of_each_split_are_enough_to_compare_with(
    tmp_path: Path, context: Context, validation: int, test: int, says: str
) -> None:
    for split, count in (("train", 20), ("val", validation), ("test", test)):
        painted(tmp_path / split, count)
    task = GAN(build(GANConfig, SMALL | {"dataset": f"image_folder:{tmp_path}"}), context)
    if says:
        with pytest.raises(DataError, match=f"has {says} images"):
            Loop(task)
        return
    networks = {"judge": Pooled(), "generator": Tinted(), "discriminator": lambda images: images.mean((1, 2, 3))}
    for split in ("validation", "test"):
        metrics = task.evaluate(networks, split, 1).metrics
        assert metrics["sizes/compared"] == 6 and all(np.isfinite(value) for value in metrics.values())


class Pooled(nn.Module):
    """A judge that knows none of the classes; its features are the colours of 16 squares."""

    head = nn.Sequential(nn.Linear(48, 2))

    def features(self, images: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(images, 4).flatten(1)


class Tinted(nn.Module):
    def forward(self, latent: Tensor) -> Tensor:
        return latent[:, :3, None, None].tanh().expand(-1, 3, 32, 32)


# ---- each field of the config changes what it names


def modules(config: GANConfig, name: str, kind: type[nn.Module]) -> list[Any]:
    task = GAN(config, Context())
    return [module for module in task.networks()[name]().modules() if isinstance(module, kind)]


def test_widths_latents_and_image_size() -> None:
    config = build(GANConfig, SMALL | {"ngf": 12, "ndf": 20, "nz": 7, "image_size": 64})
    g, d = modules(config, "generator", nn.ConvTranspose2d), modules(config, "discriminator", nn.Conv2d)
    assert g[0].in_channels == 7 and g[-1].in_channels == 12 and d[0].out_channels == 20
    assert GAN(config, Context()).networks()["generator"]()(torch.zeros(2, 7)).shape == (2, 1, 64, 64)
    assert GAN(config, Context()).sample("latent", 3, torch.Generator()).shape == (3, 7)


def test_noise_has_the_distribution_asked_for() -> None:
    for noise, largest in (("uniform", 1.0), ("normal", 6.0)):
        task = GAN(build(GANConfig, {"noise": noise, "nz": 50}), Context())
        drawn = task.sample("latent", 1000, torch.Generator().manual_seed(0))
        assert (float(drawn.abs().max()) <= 1.0) == (noise == "uniform") and float(drawn.abs().max()) < largest
        assert float(drawn.std()) == pytest.approx(1.0 if noise == "normal" else 3**-0.5, rel=0.02)


@pytest.mark.parametrize(("spectral_norm", "expected"), [("none", (0, 0)), ("discriminator", (0, 4)), ("both", (4, 4))])
def test_spectral_normalization_is_where_it_was_asked_for(spectral_norm: str, expected: tuple[int, int]) -> None:
    config = build(GANConfig, SMALL | {"spectral_norm": spectral_norm})
    names = ("generator", "discriminator")
    found = [sum("SpectralNorm" in type(m).__name__ for m in modules(config, name, nn.Module)) for name in names]
    assert tuple(found) == expected


@pytest.mark.parametrize(
    ("normalization", "expected"),
    [("batch", (3, 0)), ("batch_after_first", (2, 0)), ("none", (0, 0)), ("instance", (0, 3))],
)
def test_the_discriminators_normalization(normalization: str, expected: tuple[int, int]) -> None:
    config = build(GANConfig, SMALL | {"normalization": normalization})
    found = tuple(len(modules(config, "discriminator", kind)) for kind in (nn.BatchNorm2d, nn.InstanceNorm2d))
    assert found == expected
    assert len(modules(config, "generator", nn.BatchNorm2d)) == 3


def test_init_steps_and_augmentation() -> None:
    deviation = {
        init: float(
            modules(build(GANConfig, {"init": init}), "generator", nn.ConvTranspose2d)[-1].weight.detach().std()
        )
        for init in ("dcgan", "default")
    }
    assert deviation["dcgan"] == pytest.approx(0.02, rel=0.1)
    assert deviation["default"] == pytest.approx((3 * 16) ** -0.5, rel=0.1)  # uniform, bound 1/√(1 channel · 4 · 4)
    task = GAN(build(GANConfig, {"discriminator_steps": 3, "augment": "flip"}), Context())
    assert [phase.repeats for phase in task.phases()] == [3, 1]
    assert task.streams()["real"].augment == "flip" and task.streams()["real"].image_set.split == "train"


@pytest.mark.parametrize("loss", ADVERSARIAL)
def test_the_losses_are_those_of_the_config(loss: str) -> None:
    """And the discriminator sees real images in [-1, 1]."""
    config = build(GANConfig, {"loss": loss})
    seen: list[Tensor] = []

    def d(images: Tensor) -> Tensor:
        seen.append(images)
        return images.mean((1, 2, 3)) * 3

    latent = torch.randn(4, 1, 32, 32).tanh()
    real = torch.rand(4, 1, 32, 32)
    inputs = Inputs({"real": Batch(real), "latent": latent}, torch.tensor(0.0))
    functions: Mapping[str, Any] = {"generator": lambda z: z, "discriminator": d}
    value, scores = discriminator_loss(functions, inputs, config)
    on_real, on_fake = (2 * real - 1).mean((1, 2, 3)) * 3, latent.mean((1, 2, 3)) * 3
    torch.testing.assert_close(value, ADVERSARIAL[loss].discriminator(on_real, on_fake))
    torch.testing.assert_close(seen[0], 2 * real - 1)
    is_probability = loss in ("non_saturating", "saturating")
    expected = on_real.sigmoid().mean() if is_probability else on_real.mean()
    torch.testing.assert_close(scores["score/real"], expected)
    value, scores = generator_loss(functions, inputs, config)
    torch.testing.assert_close(value, ADVERSARIAL[loss].generator(on_fake))
    torch.testing.assert_close(scores["score/fake"], on_fake.sigmoid().mean() if is_probability else on_fake.mean())


@dataclasses.dataclass
class Batch:
    images: Tensor
    labels: Tensor | None = None


def test_images_go_out_as_they_look() -> None:
    images = torch.tensor([-1.0, 0.0, 1.0, 5.0]).view(1, 1, 2, 2)
    assert to_uint8(to_unit(images)).tolist() == [[[[0], [128]], [[255], [255]]]]
    colours = torch.rand(2, 5, 3, 4, 6)  # rows and columns
    assert to_uint8(colours).shape == (2, 5, 4, 6, 3)
    assert to_uint8(colours)[1, 2, 3, 4, 0] == round(float(colours[1, 2, 0, 3, 4]) * 255)


def test_a_figure_is_a_picture() -> None:
    from matplotlib import pyplot as plt

    figure = plt.figure(figsize=(2, 1), dpi=50, facecolor="red")
    picture = from_figure(figure)
    assert picture.shape == (50, 100, 3) and picture.dtype == np.uint8
    assert (picture == [255, 0, 0]).all() and not plt.fignum_exists(figure.number)
