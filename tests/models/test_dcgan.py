"""DCGAN: the layer table, its start values, what it refuses, and that each network learns."""

import math

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from genlab.losses import non_saturating
from genlab.models import NORMALIZATIONS, Discriminator, Generator, initialize, sample_latent

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def make_generator(**changes):
    return Generator(**{"nz": 100, "ngf": 32, "channels": 1, "image_size": 32} | changes)


def make_discriminator(**changes):
    return Discriminator(**{"ndf": 32, "channels": 1, "image_size": 32} | changes)


MAKE = {"generator": make_generator, "discriminator": make_discriminator}


def convolutions(network):
    return [module for module in network.modules() if isinstance(module, CONVOLUTIONS)]


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def table(network):
    """Every layer in words, so that a test reads like the report's table."""
    words = []
    for layer in network.layers:
        if isinstance(layer, CONVOLUTIONS):
            kind = "conv" if isinstance(layer, nn.Conv2d) else "transposed"
            assert layer.bias is None
            words.append(
                f"{kind} {layer.in_channels}-{layer.out_channels} k{layer.kernel_size[0]} s{layer.stride[0]} "
                f"p{layer.padding[0]}"
            )
        elif isinstance(layer, nn.BatchNorm2d):
            words.append(f"norm {layer.num_features}")
        elif isinstance(layer, nn.LeakyReLU):
            words.append(f"leaky {layer.negative_slope}")
        else:
            words.append(type(layer).__name__)
    return words


@pytest.mark.parametrize("channels", [1, 3])
def test_generator_of_32_pixels_is_the_reports_table(channels):
    assert table(make_generator(channels=channels)) == [
        "transposed 100-128 k4 s1 p0",
        "norm 128",
        "ReLU",
        "transposed 128-64 k4 s2 p1",
        "norm 64",
        "ReLU",
        "transposed 64-32 k4 s2 p1",
        "norm 32",
        "ReLU",
        f"transposed 32-{channels} k4 s2 p1",
        "Tanh",
    ]


@pytest.mark.parametrize("channels", [1, 3])
def test_discriminator_of_32_pixels_is_the_reports_table(channels):
    assert table(make_discriminator(channels=channels)) == [
        f"conv {channels}-32 k4 s2 p1",
        "norm 32",
        "leaky 0.2",
        "conv 32-64 k4 s2 p1",
        "norm 64",
        "leaky 0.2",
        "conv 64-128 k4 s2 p1",
        "norm 128",
        "leaky 0.2",
        "conv 128-1 k4 s1 p0",
    ]


def test_parameter_counts_by_hand():
    norms = 2 * (32 + 64 + 128)
    assert count(make_generator()) == 16 * (100 * 128 + 128 * 64 + 64 * 32 + 32 * 1) + norms == 369_600
    assert count(make_generator(channels=3)) == 370_624
    assert count(make_discriminator()) == 16 * (1 * 32 + 32 * 64 + 64 * 128 + 128 * 1) + norms == 166_848
    assert count(make_discriminator(channels=3)) == 167_872
    assert count(make_generator(image_size=64, channels=3)) == 1_100_224
    assert count(make_discriminator(image_size=64, channels=3)) == 694_720


@pytest.mark.parametrize(("image_size", "widths"), [(64, [8, 16, 32, 64]), (128, [8, 16, 32, 64, 128])])
def test_each_doubling_of_the_side_adds_one_layer_of_twice_the_width(image_size, widths):
    made = make_generator(ngf=8, image_size=image_size)
    assert [layer.out_channels for layer in convolutions(made)] == [*reversed(widths), 1]
    made = make_discriminator(ndf=8, image_size=image_size)
    assert [layer.out_channels for layer in convolutions(made)] == [*widths, 1]


@pytest.mark.parametrize("spectral_norm", [False, True])
@pytest.mark.parametrize("image_size", [32, 64, 128])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_and_ranges(image_size, channels, spectral_norm):
    shared = {"channels": channels, "image_size": image_size, "spectral_norm": spectral_norm}
    generator, discriminator = make_generator(nz=7, ngf=4, **shared), make_discriminator(ndf=4, **shared)
    images = generator(100 * sample_latent(3, 7))
    assert images.shape == (3, channels, image_size, image_size)
    assert images.min() >= -1
    assert images.max() <= 1
    logits = discriminator(images)
    assert logits.shape == (3,)
    assert logits.isfinite().all()
    assert discriminator(images[:1]).shape == (1,)


@pytest.mark.parametrize("which", MAKE)
def test_no_biases_but_those_of_batchnorm(which):
    network = MAKE[which](spectral_norm=True)
    owners = {id(m.bias) for m in network.modules() if isinstance(m, nn.BatchNorm2d)}
    assert {id(p) for name, p in network.named_parameters() if name.endswith("bias")} == owners


@pytest.mark.parametrize("which", MAKE)
def test_spectral_norm_is_on_every_convolution_and_nothing_else(which):
    plain, normed = MAKE[which](), MAKE[which](spectral_norm=True)
    assert not any(parametrize.is_parametrized(module) for module in plain.modules())
    parametrized = [module for module in normed.modules() if parametrize.is_parametrized(module)]
    assert parametrized == convolutions(normed)
    assert len(parametrized) == 4
    assert count(plain) == count(normed)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in normed.modules()) == 3


@pytest.mark.parametrize("which", MAKE)
def test_spectral_norm_bounds_the_matrix_with_a_row_an_output_channel(which):
    torch.manual_seed(0)
    network = MAKE[which](spectral_norm=True)
    for layer in convolutions(network):
        for _ in range(50):  # in train mode each read of the weight is one power iteration
            weight = layer.weight
        rows = weight.detach().transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else weight.detach()
        assert torch.linalg.matrix_norm(rows.flatten(1), 2).item() == pytest.approx(1, abs=2e-2)


@pytest.mark.parametrize("spectral_norm", [False, True])
@pytest.mark.parametrize("which", MAKE)
def test_dcgan_start_values(which, spectral_norm):
    torch.manual_seed(0)
    state = MAKE[which](spectral_norm=spectral_norm).state_dict()
    kernels = [value for name, value in state.items() if value.ndim == 4]
    scales = [value for name, value in state.items() if name.endswith("weight") and value.ndim == 1]
    shifts = [value for name, value in state.items() if name.endswith("bias")]
    assert (len(kernels), len(scales), len(shifts)) == (4, 3, 3)
    for kernel in kernels:
        error = 0.02 / math.sqrt(kernel.numel())
        assert kernel.mean().item() == pytest.approx(0, abs=5 * error)
        assert kernel.std().item() == pytest.approx(0.02, abs=5 * error)
    for scale in scales:
        error = 0.02 / math.sqrt(scale.numel())
        assert scale.mean().item() == pytest.approx(1, abs=5 * error)
        assert scale.std().item() == pytest.approx(0.02, abs=5 * error)
    assert all((shift == 0).all() for shift in shifts)


@pytest.mark.parametrize("which", MAKE)
def test_default_start_values_are_torchs(which):
    torch.manual_seed(3)
    network = MAKE[which](init="default")
    torch.manual_seed(3)
    for layer in convolutions(network):  # in order of construction; BatchNorm draws nothing
        again = type(layer)(
            layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding, bias=False
        )
        assert torch.equal(layer.weight, again.weight)
    assert all((m.weight == 1).all() for m in network.modules() if isinstance(m, nn.BatchNorm2d))


@pytest.mark.parametrize("init", ["dcgan", "default"])
@pytest.mark.parametrize("spectral_norm", [False, True])
@pytest.mark.parametrize("which", MAKE)
def test_start_values_follow_from_torchs_seed(which, spectral_norm, init):
    def state(seed):
        torch.manual_seed(seed)
        return MAKE[which](spectral_norm=spectral_norm, init=init).state_dict()

    first, again, other = state(0), state(0), state(1)
    assert all(isinstance(value, torch.Tensor) for value in first.values())
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("which", MAKE)
def test_state_comes_back_from_safe_tensors_only_loading(which, tmp_path):
    network = MAKE[which](spectral_norm=True)
    torch.save(network.state_dict(), tmp_path / "state.pt")
    other = MAKE[which](spectral_norm=True)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    sample = sample_latent(4, 100) if which == "generator" else torch.rand(4, 1, 32, 32)
    assert torch.equal(network.eval()(sample), other.eval()(sample))


@pytest.mark.parametrize("spectral_norm", [False, True])
@pytest.mark.parametrize("init", ["dcgan", "default"])
def test_one_step_lowers_each_loss_and_changes_every_parameter(init, spectral_norm):
    torch.manual_seed(0)
    shared = {"init": init, "spectral_norm": spectral_norm}
    generator, discriminator = make_generator(ngf=8, nz=16, **shared), make_discriminator(ndf=8, **shared)
    latent, real = sample_latent(16, 16), torch.rand(16, 1, 32, 32) * 2 - 1

    def discriminator_loss():
        return non_saturating.discriminator(discriminator(real), discriminator(generator(latent).detach()))

    def generator_loss():
        return non_saturating.generator(discriminator(generator(latent)))

    for network, loss in ((discriminator, discriminator_loss), (generator, generator_loss)):
        before = [parameter.detach().clone() for parameter in network.parameters()]
        optimizer = torch.optim.Adam(network.parameters(), 5e-4, betas=(0.5, 0.999))
        optimizer.zero_grad()
        start = loss()
        start.backward()
        optimizer.step()
        assert loss() < start
        assert not any(torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True))


NORMS: dict[str, tuple[list[type[nn.Module]], list[type[nn.Module]]]] = {  # of the first hidden layer, of the others
    "batch": ([nn.BatchNorm2d], [nn.BatchNorm2d]),
    "batch_after_first": ([], [nn.BatchNorm2d]),
    "none": ([], []),
    "instance": ([nn.InstanceNorm2d], [nn.InstanceNorm2d]),
}


@pytest.mark.parametrize("image_size", [32, 64, 128])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_every_hidden_layer_has_the_asked_normalization_and_the_last_none(normalization, image_size):
    made = make_discriminator(ndf=4, image_size=image_size, normalization=normalization)
    first, other = NORMS[normalization]
    norms = [first] + [other] * {32: 2, 64: 3, 128: 4}[image_size]
    hidden = [kind for norm in norms for kind in (nn.Conv2d, *norm, nn.LeakyReLU)]
    assert [type(layer) for layer in made.layers] == [*hidden, nn.Conv2d]
    biases = [layer.bias is not None for layer in convolutions(made)]
    assert biases == [not norm for norm in norms] + [False]
    for layer in made.layers:
        if isinstance(layer, nn.InstanceNorm2d):
            assert layer.affine
            assert not layer.track_running_stats


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_every_normalization_gives_logits_and_learns_in_every_parameter(normalization):
    torch.manual_seed(0)
    made = make_discriminator(ndf=8, spectral_norm=True, normalization=normalization)
    logits = made(torch.randn(6, 1, 32, 32))
    assert logits.shape == (6,)
    logits.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in made.parameters())


@pytest.mark.parametrize("normalization", ["batch_after_first", "none", "instance"])
def test_dcgan_start_values_of_other_normalizations(normalization):
    torch.manual_seed(0)
    made = make_discriminator(normalization=normalization)
    for name, parameter in made.named_parameters():
        if name.endswith("bias"):
            assert (parameter == 0).all()
        else:
            mean = 1 if parameter.ndim == 1 else 0
            error = 0.02 / math.sqrt(parameter.numel())
            assert parameter.mean().item() == pytest.approx(mean, abs=5 * error)
            assert parameter.std().item() == pytest.approx(0.02, abs=5 * error)


def test_initialize_zeroes_the_biases_of_transposed_convolutions_and_batchnorm():
    network = nn.Sequential(nn.ConvTranspose2d(2, 3, 4), nn.BatchNorm2d(3))
    nn.init.ones_(network[1].bias)
    initialize(network)
    assert not network[0].bias.any()
    assert not network[1].bias.any()


def with_and_without_spectral_norm(**changes):
    """Two discriminators of the same weights, and images of differing brightness and contrast."""
    made = []
    for spectral_norm in (False, True):
        torch.manual_seed(0)
        made.append(make_discriminator(spectral_norm=spectral_norm, **changes))
    return *made, torch.randn(64, 1, 32, 32) * torch.rand(64, 1, 1, 1) + torch.rand(64, 1, 1, 1) - 0.5


@pytest.mark.parametrize("init", ["dcgan", "default"])
def test_batchnorm_undoes_spectral_normalization(init):
    plain, normed, images = with_and_without_spectral_norm(init=init)
    logits = torch.stack([plain(images), normed(images)]).detach().double()
    assert logits.std(dim=1).min() > 0.1  # else a correlation says little
    assert torch.corrcoef(logits)[0, 1] > 0.99999


def test_without_batchnorm_spectral_normalization_changes_scale_and_shape():
    plain, normed, images = with_and_without_spectral_norm(init="default", normalization="none")
    logits = torch.stack([plain(images), normed(images)]).detach().double()
    assert torch.corrcoef(logits)[0, 1] < 0.999  # biases keep their scale where kernels lose theirs
    assert logits[1].std() > 1.5 * logits[0].std()


def steepest(discriminator, images):
    """The longest gradient of the summed logits by one of the images."""
    images = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(images).sum(), images)
    return gradient.flatten(1).norm(dim=1).max().item()


@pytest.mark.parametrize(("image_size", "bound"), [(32, 8), (64, 16), (128, 32)])
def test_only_spectral_normalization_without_batchnorm_bounds_the_slope(image_size, bound):
    def slope(spectral_norm, normalization):
        torch.manual_seed(0)
        images = 0.5 + 1e-2 * torch.randn(
            16, 1, image_size, image_size
        )  # they differ little, which BatchNorm stretches
        shared = {"spectral_norm": spectral_norm, "normalization": normalization}
        made = make_discriminator(ndf=8, image_size=image_size, **shared)
        with torch.no_grad():
            for kernel in (parameter for parameter in made.parameters() if parameter.ndim == 4):
                # Without BatchNorm a gradient is longest where all its terms have one sign.
                kernel.copy_(100 * (kernel.abs() if normalization == "none" else kernel))
            for _ in range(30):  # power iterations
                made(images)
        return steepest(made, images)

    assert bound / 3 < slope(True, "none") <= bound
    assert slope(False, "none") > 100 * bound
    assert slope(True, "batch") > 2 * bound


@pytest.mark.parametrize("which", MAKE)
def test_refusals_name_the_valid_values(which):
    make = MAKE[which]
    with pytest.raises(ValueError, match="32, 64, 128"):
        make(image_size=28)
    with pytest.raises(ValueError, match="dcgan, default"):
        make(init="xavier")
    with pytest.raises(ValueError, match="channels is 0"):
        make(channels=0)
    with pytest.raises(ValueError, match="batch, batch_after_first, none, instance"):
        make_discriminator(normalization="layer")


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\[N, 100\]"):
        make_generator()(torch.zeros(2, 100, 1, 1))
    with pytest.raises(ValueError, match=r"\[N, 1, 32, 32\]"):  # would otherwise give 25 logits an image
        make_discriminator()(torch.zeros(2, 1, 64, 64))
