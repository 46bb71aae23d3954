"""The loops of the usual single-file examples, of a GAN and of a VAE: the other side of `generative.py`.

PIL images come from a DataLoader with two workers and are transformed one by one, a sigmoid precedes BCELoss, and every
loss and score is read from the device at once. Networks, widths, batch and optimizer are those of genlab's side.

python examples.py KIND SETTINGS PIXELS STEPS    train so many steps; prints this process's peak memory in MiB
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from sides.memory import peak_mib
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import transforms

from genlab.models import VAE, Discriminator, FullyConnectedDiscriminator, FullyConnectedGenerator, Generator

Settings = Mapping[str, Any]
"""The fields of a task's config by name, and `device`."""


class Pictures(Dataset[Tensor]):
    """Images uint8 [N, S, S] or [N, S, S, C] as torchvision gives them: PIL images, transformed one by one."""

    def __init__(self, pixels: np.ndarray, signed: bool) -> None:
        """
        Args:
            signed: tensors are in [-1, 1], else in [0, 1].
        """
        half = (0.5,) * (pixels.shape[3] if pixels.ndim == 4 else 1)
        last = [transforms.Normalize(half, half)] if signed else []
        self.pixels = pixels
        self.transform: Callable[[Image.Image], Any] = transforms.Compose([transforms.ToTensor(), *last])

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Tensor:
        return self.transform(Image.fromarray(self.pixels[index]))


class Example:
    """What both have in common."""

    signed = False

    def __init__(self, settings: Settings, pixels: np.ndarray, steps: int) -> None:
        """
        Args:
            pixels: as `Pictures` takes them.
            steps: how many there will be, so that one iterator lasts and no pass starts its workers again.
        """
        self.settings, self.device = settings, settings["device"]
        channels = pixels.shape[3] if pixels.ndim == 4 else 1
        self.build({"channels": channels, "image_size": pixels.shape[1]})
        pictures = Pictures(pixels, self.signed)
        shuffled = RandomSampler(pictures, num_samples=steps * settings["batch_size"])
        loader = DataLoader(pictures, settings["batch_size"], sampler=shuffled, num_workers=2)
        self.batches: Iterator[Tensor] = iter(loader)

    def build(self, sizes: dict[str, Any]) -> None:
        """Make networks and optimizers for images of these `channels` and `image_size`."""
        raise NotImplementedError

    def step(self, images: Tensor) -> list[float]:
        """One step on a batch; what an example prints of it."""
        raise NotImplementedError

    def train(self, steps: int) -> float:
        """Images per second."""
        began = time.perf_counter()
        for _ in range(steps):
            self.step(next(self.batches).to(self.device))
        return steps * self.settings["batch_size"] / (time.perf_counter() - began)


class GANExample(Example):
    """The loop of the usual DCGAN tutorial. The discriminator's fakes are reused in the generator's phase."""

    signed = True

    def build(self, sizes: dict[str, Any]) -> None:
        s = self.settings
        convolutional = s["architecture"] == "dcgan"
        make_generator = Generator if convolutional else FullyConnectedGenerator
        make_discriminator = Discriminator if convolutional else FullyConnectedDiscriminator
        common = {**sizes, "init": s["init"]}
        self.generator = make_generator(nz=s["nz"], ngf=s["ngf"], **common).to(self.device)
        self.discriminator = make_discriminator(ndf=s["ndf"], normalization=s["normalization"], **common)
        self.discriminator.to(self.device)
        if s["spectral_norm"] == "discriminator":
            for module in list(self.discriminator.modules()):
                if isinstance(module, nn.Conv2d):
                    parametrizations.spectral_norm(module)
        adam: dict[str, Any] = {"lr": s["lr_generator"], "betas": (s["beta1"], s["beta2"])}
        self.optimizer_g = torch.optim.Adam(self.generator.parameters(), **adam)
        self.optimizer_d = torch.optim.Adam(self.discriminator.parameters(), **adam)
        self.criterion = nn.BCELoss()

    def step(self, images: Tensor) -> list[float]:
        """Both losses, D(x), and D(G(z)) before and after the discriminator's update."""
        ones = torch.ones(len(images), device=self.device)
        zeros = torch.zeros(len(images), device=self.device)
        self.discriminator.zero_grad()
        on_real = self.judge(images)
        loss_real = self.criterion(on_real, ones)
        loss_real.backward()
        score_real = on_real.mean().item()
        fake = self.generator(torch.randn(len(images), self.settings["nz"], device=self.device))
        on_fake = self.judge(fake.detach())
        loss_fake = self.criterion(on_fake, zeros)
        loss_fake.backward()
        score_before = on_fake.mean().item()
        loss_d = loss_real + loss_fake
        self.optimizer_d.step()
        self.generator.zero_grad()
        on_fake = self.judge(fake)
        loss_g = self.criterion(on_fake, ones)
        loss_g.backward()
        score_after = on_fake.mean().item()
        self.optimizer_g.step()
        return [loss_d.item(), loss_g.item(), score_real, score_before, score_after]

    def judge(self, images: Tensor) -> Tensor:
        """Probabilities that images are real."""
        return torch.sigmoid(self.discriminator(images))


class VAEExample(Example):
    """The loop of the usual VAE example: the loss is summed over the batch."""

    def build(self, sizes: dict[str, Any]) -> None:
        s = self.settings
        self.vae = VAE(architecture=s["architecture"], width=s["width"], nz=s["nz"], **sizes).to(self.device)
        self.optimizer = torch.optim.Adam(self.vae.parameters(), lr=s["lr"], betas=(s["beta1"], s["beta2"]))

    def step(self, images: Tensor) -> list[float]:
        """The loss, an image."""
        self.optimizer.zero_grad()
        logits, mean, log_variance = self.vae(images, torch.randn(len(images), self.settings["nz"], device=self.device))
        again = torch.sigmoid(logits)
        reconstruction = nn.functional.binary_cross_entropy(again, images, reduction="sum")
        divergence = -0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())
        loss = reconstruction + divergence
        loss.backward()
        self.optimizer.step()
        return [loss.item() / len(images)]


EXAMPLES: dict[str, type[Example]] = {"gan": GANExample, "vae": VAEExample}
"""By the name of the task."""


if __name__ == "__main__":
    kind, settings, pixels, steps = sys.argv[1:]
    EXAMPLES[kind](json.loads(settings), np.load(pixels), int(steps)).train(int(steps))
    print(peak_mib())
