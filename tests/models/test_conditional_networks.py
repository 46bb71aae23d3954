"""Networks that are told a class, and the fully connected ones: shapes, what reaches them, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genlab.models import (
    Discriminator,
    FullyConnectedDiscriminator,
    FullyConnectedGenerator,
    Generator,
)
from genlab.models.conditioning import with_labels

SIZES: dict[str, Any] = {"channels": 1, "image_size": 32}
GENERATORS = [Generator, FullyConnectedGenerator]
DISCRIMINATORS = [Discriminator, FullyConnectedDiscriminator]


def test_labels_are_one_hot_behind_noise_and_pixels() -> None:
    labels = torch.tensor([2, 0])
    told = with_labels(torch.tensor([[7.0, 8.0], [9.0, 6.0]]), labels, 3)
    assert told.tolist() == [[7, 8, 0, 0, 1], [9, 6, 1, 0, 0]]
    images = torch.rand(2, 3, 4, 4)
    told = with_labels(images, labels, 3)
    assert torch.equal(told[:, :3], images)
    expected = torch.zeros(2, 3, 4, 4)
    expected[0, 2] = expected[1, 0] = 1
    assert torch.equal(told[:, 3:], expected)


@pytest.mark.parametrize(
    ("labels", "classes", "says"),
    [
        (None, 3, "with labels"),
        (torch.tensor([0, 1]), 0, "without labels"),
        (torch.tensor([0]), 3, r"int64 \[2\]"),
        (torch.tensor([0.0, 1.0]), 3, "int64"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels: Tensor | None, classes: int, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        with_labels(torch.zeros(2, 4), labels, classes)


@pytest.mark.parametrize("kind", GENERATORS)
def test_a_generator_draws_another_image_of_another_class(kind: Any) -> None:
    generator = kind(nz=5, ngf=4, classes=3, init="default", **SIZES).eval()
    noise = torch.randn(2, 5)
    zero, one = (generator(noise, torch.full((2,), label)) for label in (0, 1))
    assert zero.shape == (2, 1, 32, 32) and float(zero.detach().abs().max()) <= 1
    assert float((zero - one).abs().max()) > 1e-3 * float(zero.abs().max())


@pytest.mark.parametrize("kind", DISCRIMINATORS)
def test_a_discriminators_verdict_depends_on_the_class(kind: Any) -> None:
    torch.manual_seed(0)  # an odd network in ten hardly minds a class
    discriminator = kind(ndf=4, classes=3, init="default", **SIZES).eval()
    images = torch.rand(2, 1, 32, 32) * 2 - 1
    zero, one = (discriminator(images, torch.full((2,), label)) for label in (0, 1))
    assert zero.shape == (2,)
    assert float((zero - one).abs().min()) > 1e-4 * float(zero.abs().max())


def linear(network: nn.Module) -> list[tuple[int, int]]:
    return [(m.in_features, m.out_features) for m in network.modules() if isinstance(m, nn.Linear)]


def test_the_fully_connected_widths() -> None:
    sizes: dict[str, Any] = {"channels": 3, "image_size": 64}
    generator = FullyConnectedGenerator(nz=128, ngf=256, classes=10, **sizes)
    assert linear(generator) == [(138, 256), (256, 512), (512, 1024), (1024, 3 * 64 * 64)]
    assert generator(torch.randn(2, 128), torch.tensor([0, 9])).shape == (2, 3, 64, 64)
    assert not [m for m in generator.modules() if "Norm" in type(m).__name__]
    discriminator = FullyConnectedDiscriminator(ndf=256, **sizes)
    assert linear(discriminator) == [(3 * 64 * 64, 1024), (1024, 512), (512, 256), (256, 1)]
    assert discriminator(torch.rand(2, 3, 64, 64)).shape == (2,)


@pytest.mark.parametrize(("normalization", "found"), [("none", 0), ("batch", 2)])
def test_the_fully_connected_normalization(normalization: str, found: int) -> None:
    network = FullyConnectedDiscriminator(ndf=4, normalization=normalization, **SIZES)
    assert sum(isinstance(m, nn.BatchNorm1d) for m in network.modules()) == found


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("kind", DISCRIMINATORS)
def test_a_verdict_an_image_also_of_one_alone(kind: type[nn.Module], count: int) -> None:
    network = kind(ndf=4, **SIZES).eval()
    images = torch.rand(2, 1, 32, 32)
    verdicts = network(images[:count])
    assert verdicts.shape == (count,)
    assert torch.allclose(verdicts, network(images)[:count], rtol=1e-4)


@pytest.mark.parametrize("kind", DISCRIMINATORS)
def test_dropout_is_of_the_discriminators_hidden_units_and_of_training(kind: type[nn.Module]) -> None:
    assert not [m for m in kind(ndf=4, **SIZES).modules() if isinstance(m, nn.Dropout)]
    network = kind(ndf=64, dropout=0.3, **SIZES)
    kept: list[torch.Tensor] = []
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.register_forward_hook(lambda _, given, made: kept.append((made != 0).float().mean()))
    images = torch.rand(64, 1, 32, 32)
    network(images)
    assert len(kept) == 3 and torch.stack(kept).tolist() == pytest.approx([0.7] * 3, abs=0.02)
    network.eval()
    torch.testing.assert_close(network(images), network(images), rtol=0, atol=0)
    assert [float(share) for share in kept[3:]] == [1.0] * 6


def test_the_fully_connected_first_weights() -> None:
    made = {init: FullyConnectedGenerator(nz=64, ngf=64, init=init, **SIZES) for init in ("default", "dcgan")}
    first = {init: next(m for m in network.modules() if isinstance(m, nn.Linear)) for init, network in made.items()}
    assert float(first["default"].weight.std()) == pytest.approx((64 * 3) ** -0.5, rel=0.05)  # uniform, bound 1/√64
    assert float(first["dcgan"].weight.std()) == pytest.approx(0.02, rel=0.05)
    assert float(first["dcgan"].bias.abs().max()) == 0
    torch.manual_seed(0)
    network = FullyConnectedDiscriminator(ndf=256, init="dcgan", normalization="batch", **SIZES)
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm1d)):
        assert float(norm.weight.std()) == pytest.approx(0.02, rel=0.2)
        assert float(norm.weight.mean()) == pytest.approx(1, abs=0.01)


def test_spectral_normalization_bounds_the_slope_of_a_fully_connected_discriminator() -> None:
    """Each matrix has the norm 1 and LeakyReLU no slope above 1, so neither has the whole."""
    torch.manual_seed(0)
    network = FullyConnectedDiscriminator(ndf=8, spectral_norm=True, **SIZES)
    images = torch.randn(64, 1, 32, 32)
    for _ in range(50):  # power iterations
        network(images)
    network.eval()
    for weights in (m.weight for m in network.modules() if isinstance(m, nn.Linear)):
        assert float(torch.linalg.matrix_norm(weights, 2)) == pytest.approx(1, rel=1e-3)
    one, other = images.chunk(2)
    steepest = ((network(one) - network(other)).abs() / (one - other).flatten(1).norm(dim=1)).max()
    assert 0 < float(steepest) <= 1


@pytest.mark.parametrize("spectral_norm", [False, True])
def test_every_weight_of_a_conditional_pair_learns(spectral_norm: bool) -> None:
    labels = torch.arange(6) % 3
    for made in (GENERATORS, DISCRIMINATORS):
        for kind in made:
            widths = {"nz": 5, "ngf": 4} if made is GENERATORS else {"ndf": 4}
            network = kind(classes=3, init="default", spectral_norm=spectral_norm, **widths, **SIZES)
            inputs = torch.randn(6, 5) if made is GENERATORS else torch.rand(6, 1, 32, 32)
            network(inputs, labels).square().mean().backward()
            assert all(p.grad is not None and float(p.grad.abs().max()) > 0 for p in network.parameters())


def test_wrong_shapes_and_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[N, 5\]"):
        FullyConnectedGenerator(nz=5, ngf=4, **SIZES)(torch.zeros(2, 6))
    with pytest.raises(ValueError, match=r"\[N, 1, 32, 32\]"):
        FullyConnectedDiscriminator(ndf=4, **SIZES)(torch.zeros(2, 3, 32, 32))
    with pytest.raises(ValueError, match="batch, none"):
        FullyConnectedDiscriminator(ndf=4, normalization="instance", **SIZES)
    for kind in DISCRIMINATORS:
        with pytest.raises(ValueError, match="dropout"):
            kind(ndf=4, dropout=1.5, **SIZES)
    with pytest.raises(ValueError, match="dcgan, default"):
        FullyConnectedGenerator(nz=5, ngf=4, init="he", **SIZES)
    with pytest.raises(ValueError, match="32, 64, 128"):
        FullyConnectedGenerator(nz=5, ngf=4, channels=1, image_size=33)


def channels(network: nn.Module) -> list[int]:
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    return [layer.out_channels for layer in network.modules() if isinstance(layer, kinds)]


def test_the_networks_of_128_pixels_have_a_layer_more() -> None:
    """The report's extension: six transposed convolutions, the widest 16 times the narrowest, as 2048 is of 128."""
    generator = Generator(nz=10, ngf=2, channels=3, image_size=128)
    assert channels(generator) == [32, 16, 8, 4, 2, 3]
    discriminator = Discriminator(ndf=2, channels=3, image_size=128)
    assert channels(discriminator) == [2, 4, 8, 16, 32, 1]
    images = generator(torch.randn(2, 10))
    assert images.shape == (2, 3, 128, 128) and discriminator(images).shape == (2,)


@pytest.mark.slow
def test_a_step_at_the_full_width_of_128_pixels() -> None:
    generator = Generator(nz=100, ngf=128, channels=3, image_size=128)
    discriminator = Discriminator(ndf=128, channels=3, image_size=128)
    assert channels(generator) == [2048, 1024, 512, 256, 128, 3]
    assert channels(discriminator) == [128, 256, 512, 1024, 2048, 1]
    optimizer = torch.optim.Adam([*generator.parameters(), *discriminator.parameters()], 2e-4)
    before = [parameter.detach().clone() for parameter in generator.parameters()]
    (-discriminator(generator(torch.randn(2, 100)))).mean().backward()
    optimizer.step()
    assert all(not torch.equal(old, new) for old, new in zip(before, generator.parameters(), strict=True))
