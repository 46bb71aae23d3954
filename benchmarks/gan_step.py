"""How fast the DCGAN loop trains, beside the loop of the usual tutorial on the same data, networks and batch.

The tutorial's loop takes PIL images from a DataLoader with two workers, ends its discriminator in a sigmoid, and reads
every loss and score from the device at once. Both reuse the discriminator's fakes in the generator's phase. The sides
take turns in short rounds; evaluation, and the start of the DataLoader's workers, are not counted.

Measured twice: plainly, and with spectral normalization of a discriminator without BatchNorm, where the tutorial's side
uses torch's own.

uv run benchmarks/gan_step.py
uv run benchmarks/gan_step.py --dataset mnist --data-root DATA
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import tyro
from PIL import Image
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import transforms

from genlab.data import ImageSet
from genlab.models import Discriminator, Generator
from genlab.tasks import Context, GANConfig, Report
from genlab.tasks.gan import GAN
from genlab.training import Loop

CUDA = torch.cuda.is_available()


@dataclass(frozen=True, kw_only=True)
class Options:
    """Time genlab's DCGAN loop and the tutorial's; prints one JSON line."""

    width: int = 64 if CUDA else 32
    """Channels of both networks' layers next to the image; the tutorial's own on a GPU."""
    batch_size: int = 128 if CUDA else 64
    """Images a step; the tutorial's own on a GPU."""
    steps: int = 500 if CUDA else 40
    """Steps of one side in a round."""
    rounds: int = 5
    """Rounds that count; one of few steps goes before."""
    dataset: str = "digits"
    """A data set that genlab knows."""
    data_root: str | None = None
    """Folder with the data sets."""


class Unjudged(GAN):
    """The GAN task without its evaluation."""

    def given(self) -> dict[str, nn.Module]:
        return {}  # no judge

    def evaluate(self, networks: Any, split: str, epoch: int) -> Report:
        return Report()


class Pictures(Dataset[Tensor]):
    """The same images as torchvision's data sets give them: PIL images, transformed one by one."""

    def __init__(self, images: ImageSet) -> None:
        self.pixels = images.images.permute(0, 2, 3, 1).squeeze(-1).contiguous().numpy()
        half = (0.5,) * images.channels
        self.transform: Callable[[Image.Image], Any] = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize(half, half)]
        )

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Tensor:
        return self.transform(Image.fromarray(self.pixels[index]))


class Tutorial:
    """The loop of the usual DCGAN tutorial."""

    def __init__(self, images: ImageSet, config: GANConfig, device: str, steps: int) -> None:
        """
        Args:
            steps: how many there will be, so that one iterator lasts and no pass starts its workers again.
        """
        self.config, self.device = config, device
        common: dict[str, Any] = {"channels": images.channels, "image_size": config.image_size}
        self.generator = Generator(nz=config.nz, ngf=config.ngf, **common).to(device)
        self.discriminator = Discriminator(ndf=config.ndf, normalization=config.normalization, **common).to(device)
        if config.spectral_norm == "discriminator":
            for module in list(self.discriminator.modules()):
                if isinstance(module, nn.Conv2d):
                    parametrizations.spectral_norm(module)
        settings: dict[str, Any] = {"lr": config.lr_generator, "betas": (config.beta1, config.beta2)}
        self.optimizer_g = torch.optim.Adam(self.generator.parameters(), **settings)
        self.optimizer_d = torch.optim.Adam(self.discriminator.parameters(), **settings)
        self.criterion = nn.BCELoss()
        pictures = Pictures(images)
        shuffled = RandomSampler(pictures, num_samples=steps * config.batch_size)
        loader = DataLoader(pictures, config.batch_size, sampler=shuffled, num_workers=2)
        self.batches: Iterator[Tensor] = iter(loader)

    def train(self, steps: int) -> float:
        """Images per second."""
        began = time.perf_counter()
        for _ in range(steps):
            self.step(next(self.batches).to(self.device))
        return steps * self.config.batch_size / (time.perf_counter() - began)

    def step(self, real: Tensor) -> list[float]:
        """One step of both networks: their losses, D(x), and D(G(z)) before and after the discriminator's update."""
        ones = torch.ones(len(real), device=self.device)
        zeros = torch.zeros(len(real), device=self.device)
        self.discriminator.zero_grad()
        on_real = self.judge(real)
        loss_real = self.criterion(on_real, ones)
        loss_real.backward()
        score_real = on_real.mean().item()
        fake = self.generator(torch.randn(len(real), self.config.nz, device=self.device))
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


def measure(options: Options, **settings: Any) -> dict[str, Any]:
    """Both sides in turns, and the medians of what they reach."""
    device = "cuda" if CUDA else "cpu"
    config = GANConfig(
        dataset=options.dataset,
        ngf=options.width,
        ndf=options.width,
        batch_size=options.batch_size,
        epoch_steps=options.steps,
        reuse_fakes=True,
        **settings,
    )
    config.check()
    task = Unjudged(config, Context(device=device, data_root=options.data_root))
    images = task.initial_streams["real"].image_set
    if len(images) < options.batch_size:
        raise SystemExit(f"{options.dataset} has {len(images)} images: fewer than one batch")
    loop = Loop(task)
    warm_up = 5
    tutorial = Tutorial(images, config, device, warm_up + options.steps * options.rounds)
    loop.advance(1)
    tutorial.train(warm_up)
    ours, theirs = [], []
    for number in range(options.rounds):
        ours.append(loop.advance(number + 2).metrics["images_per_second"])
        theirs.append(tutorial.train(options.steps))
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return {
        **settings,
        "ours_images_per_second": round(statistics.median(ours), 1),
        "tutorial_images_per_second": round(statistics.median(theirs), 1),
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
    }


def main(options: Options) -> None:
    """Both rows."""
    result = {
        "benchmark": "gan_step",
        "plain": measure(options),
        "spectral": measure(options, spectral_norm="discriminator", normalization="none"),
        "device": torch.cuda.get_device_name() if CUDA else "cpu",
        "threads": torch.get_num_threads(),
        "batch_size": options.batch_size,
        "width": options.width,
        "dataset": options.dataset,
        "steps": options.steps,
        "rounds": options.rounds,
        "torch": torch.__version__,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(tyro.cli(Options))
