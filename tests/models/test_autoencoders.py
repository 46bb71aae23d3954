"""The autoencoders' shapes, sizes and refusals."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from genlab.models import VAE, DenoisingAutoencoder, reparameterize

SMALL = {"channels": 1, "image_size": 32, "width": 4, "nz": 3}


@pytest.mark.parametrize("architecture", ["fully_connected", "convolutional"])
@pytest.mark.parametrize(("channels", "image_size"), [(1, 32), (3, 64), (3, 128)])
def test_shapes_of_a_vae(architecture: str, channels: int, image_size: int) -> None:
    vae = VAE(architecture=architecture, channels=channels, image_size=image_size, width=2, nz=5)
    images = torch.rand(3, channels, image_size, image_size)
    logits, mean, log_variance = vae(images, torch.randn(3, 5))
    assert logits.shape == images.shape and mean.shape == log_variance.shape == (3, 5)


def test_parameters_of_a_vae_by_hand() -> None:
    """The architectures that the docstring states."""

    def count(**sizes: object) -> int:
        return sum(p.numel() for p in VAE(**{"channels": 3, "image_size": 32, "nz": 20} | sizes).parameters())  # type: ignore[arg-type]

    pixels = 3 * 32 * 32
    assert count(architecture="fully_connected", width=400) == (
        (pixels + 1) * 400 + 401 * 40 + (20 + 1) * 400 + 401 * pixels
    )
    down = 16 * (3 * 32 + 32 * 64 + 64 * 128) + 32 + 64 + 128
    up = 16 * (128 * 64 + 64 * 32 + 32 * 3) + 64 + 32 + 3
    assert count(architecture="convolutional", width=32) == (down + (128 * 16 + 1) * 40 + (20 + 1) * 128 * 16 + up)


def test_a_vaes_forward_is_encode_reparameterize_decode() -> None:
    vae = VAE(architecture="convolutional", **SMALL)
    images, noise = torch.rand(4, 1, 32, 32), torch.randn(4, 3)
    logits, mean, log_variance = vae(images, noise)
    assert all(torch.equal(*pair) for pair in zip(vae.encode(images), (mean, log_variance), strict=True))
    torch.testing.assert_close(logits, vae.decode(mean + noise * log_variance.exp().sqrt()))


def test_reparameterized_noise_has_the_mean_and_the_variance_asked_for() -> None:
    mean, log_variance = torch.tensor([[0.5, -2.0]]), torch.tensor([[-1.0, 2.0]])
    noise = torch.randn(100_000, 2, generator=torch.Generator().manual_seed(0))
    latents = reparameterize(mean.expand_as(noise), log_variance.expand_as(noise), noise)
    torch.testing.assert_close(latents.mean(0, keepdim=True), mean, rtol=0, atol=0.03)
    torch.testing.assert_close(latents.var(0, keepdim=True), log_variance.exp(), rtol=0.02, atol=0)


@pytest.mark.parametrize("architecture", ["fully_connected", "convolutional"])
def test_an_image_goes_through_a_vae_alone_whatever_its_batch(architecture: str) -> None:
    vae = VAE(architecture=architecture, **SMALL)
    images, noise = torch.rand(6, 1, 32, 32), torch.randn(6, 3)
    for whole, alone in zip(vae(images, noise), vae(images[:1], noise[:1]), strict=True):
        torch.testing.assert_close(whole[:1], alone, rtol=1e-4, atol=1e-6)


def test_layers_of_a_denoising_autoencoder() -> None:
    network = DenoisingAutoencoder(channels=3, image_size=32, width=8, nz=4)
    sizes = [(m.in_features, m.out_features) for m in network.modules() if isinstance(m, nn.Linear)]
    assert sizes == [(3072, 8), (8, 4), (4, 8), (8, 3072)]
    assert sum(isinstance(m, nn.ReLU) for m in network.modules()) == 3
    images = torch.rand(2, 3, 32, 32)
    assert network(images).shape == images.shape


def test_refusals() -> None:
    with pytest.raises(ValueError, match="fully_connected, convolutional"):
        VAE(architecture="recurrent", **SMALL)
    for kind in (lambda **sizes: VAE(architecture="convolutional", **sizes), DenoisingAutoencoder):
        with pytest.raises(ValueError, match="32, 64, 128"):
            kind(**SMALL | {"image_size": 28})
        with pytest.raises(ValueError, match="nz is 0"):
            kind(**SMALL | {"nz": 0})
    vae, images = VAE(architecture="convolutional", **SMALL), torch.rand(2, 1, 32, 32)
    for noise in (torch.randn(2, 4), torch.randn(1, 3), torch.randn(2, 1)):
        with pytest.raises(ValueError, match=r"\[2, 3\]"):
            vae(images, noise)
    with pytest.raises(ValueError, match=r"\[N, 3\]"):
        vae.decode(torch.randn(2, 4))
    for network in (vae.encode, DenoisingAutoencoder(**SMALL)):
        with pytest.raises(ValueError, match=r"\[N, 1, 32, 32\]"):
            network(torch.rand(2, 1, 64, 64))
