"""How fast every task trains, and GANs and VAEs beside the usual single-file examples of the same models.

First the images a second of every task. Then the example's loop (`sides/examples.py`) and ours in turns, in short
rounds, on the same data, networks, batch and optimizer: seconds an epoch, without evaluation on either side and without
the start of the DataLoader's workers. Then the peak memory of a rank of a lane and of the example, each in a process of
its own: the rank also evaluates, draws and stores; the example's workers come on top of what is told of it.

uv run benchmarks/generative.py
uv run benchmarks/generative.py --dataset mnist --data-root DATA
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from sides.examples import EXAMPLES
from torch import nn

from genlab.data import ImageSet
from genlab.tasks import Context, PhasedConfig, PhasedTask, Report, build, implementation
from genlab.tasks.fields import as_dict
from genlab.tasks.registry import config_class
from genlab.training import Loop

SIDES = Path(__file__).resolve().parent / "sides"
CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
WARM_UP = 5  # steps of an example that do not count
FAST = 5  # times as many steps for networks without convolutions
PERCEPTRONS = {"architecture": "fully_connected", "normalization": "none", "init": "default", "nz": 128}
TASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "dcgan": ("gan", {}),
    "dcgan, conditional": ("gan", {"conditional": "both"}),
    "dcgan, spectral": ("gan", {"spectral_norm": "discriminator", "normalization": "none"}),
    "fcgan": ("gan", PERCEPTRONS),
    "fcgan, conditional": ("gan", {**PERCEPTRONS, "conditional": "both"}),
    "vae": ("vae", {"width": 400}),
    "vae, convolutional": ("vae", {"architecture": "convolutional", "width": 32}),
    "dae": ("dae", {}),
    "classifier": ("classifier", {}),
}
OF_PERCEPTRONS = {"fcgan", "fcgan, conditional", "vae", "dae"}
BESIDE_EXAMPLES = ("dcgan", "dcgan, spectral", "fcgan", "vae")
MEASURED_MEMORY = ("dcgan", "fcgan", "vae")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Time every task, and GANs and VAEs beside the usual examples; prints one JSON line."""

    width: int = 64 if CUDA else 32
    """Channels of a DCGAN's layers next to the image; the tutorial's own on a GPU."""
    units: int = 256
    """Of a fully connected GAN's narrowest hidden layers."""
    batch_size: int = 128 if CUDA else 64
    """Images a step; the tutorial's own on a GPU."""
    steps: int = 500 if CUDA else 40
    """Steps of one side in a round; five times as many of networks without convolutions."""
    rounds: int = 5
    """Rounds that count, beside an example; one goes before."""
    dataset: str = "digits"
    """A data set with labels that genlab knows."""
    data_root: str | None = None
    """Folder with the data sets."""


def main(options: Options) -> None:
    """All three parts."""
    images = make(options, "dcgan").initial_streams["real"].image_set
    if len(images) < options.batch_size:
        raise SystemExit(f"{options.dataset} has {len(images)} images: fewer than one batch")
    result = {
        "benchmark": "generative",
        "images_per_second": {name: round(speed(options, name)) for name in TASKS},
        "beside_examples": {name: beside_example(options, name, images) for name in BESIDE_EXAMPLES},
        "peak_mib": {name: peaks(options, name, images) for name in MEASURED_MEMORY},
        "device": torch.cuda.get_device_name() if CUDA else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "images": len(images),
        **{name: getattr(options, name) for name in ("dataset", "width", "units", "batch_size", "steps", "rounds")},
    }
    print(json.dumps(result))


def configure(options: Options, name: str) -> PhasedConfig:
    """The config of a row of `TASKS`."""
    kind, own = TASKS[name]
    steps = options.steps * (FAST if name in OF_PERCEPTRONS else 1)
    settings = {**own, "dataset": options.dataset, "batch_size": options.batch_size, "epoch_steps": steps}
    if kind == "gan":
        width = options.units if name.startswith("fcgan") else options.width
        settings |= {"ngf": width, "ndf": width, "reuse_fakes": True}
    config = build(config_class(kind), settings)
    assert isinstance(config, PhasedConfig)
    return config


def make(options: Options, name: str) -> PhasedTask:
    """A row's task without its evaluation, and so without what that alone needs."""
    config = configure(options, name)
    task: Any = implementation(type(config))

    class Unjudged(task):
        def given(self) -> dict[str, nn.Module]:
            return {}

        def evaluate(self, networks: Any, split: str, epoch: int) -> Report:
            return Report()

    return Unjudged(config, Context(device=DEVICE, data_root=options.data_root))


def speed(options: Options, name: str) -> float:
    """Images a second of a task, the median of three epochs after one that does not count."""
    loop = Loop(make(options, name))
    loop.advance(1)
    return statistics.median(loop.advance(epoch).metrics["images_per_second"] for epoch in (2, 3, 4))


def beside_example(options: Options, name: str, images: ImageSet) -> dict[str, Any]:
    """Our loop and the example's in turns: seconds that each needs for as many images as the data set has."""
    task = make(options, name)
    config: Any = task.config
    steps = config.epoch_steps
    settings = {**as_dict(config), "device": DEVICE}
    example = EXAMPLES[TASKS[name][0]](settings, pixels(images), WARM_UP + steps * options.rounds)
    loop = Loop(task)
    loop.advance(1)
    example.train(WARM_UP)
    ours, theirs = [], []
    for number in range(options.rounds):
        ours.append(len(images) / loop.advance(number + 2).metrics["images_per_second"])
        theirs.append(len(images) / example.train(steps))
    ratios = [other / mine for mine, other in zip(ours, theirs, strict=True)]
    return {
        "ours_epoch_seconds": round(statistics.median(ours), 3),
        "example_epoch_seconds": round(statistics.median(theirs), 3),
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
    }


def peaks(options: Options, name: str, images: ImageSet) -> dict[str, int]:
    """MiB, after two epochs of ours, and as many steps of the example."""
    config: Any = replace(configure(options, name), epochs=2)
    kind = TASKS[name][0]
    environment = {**os.environ, "PYTHONPATH": str(SIDES.parent)}

    def run(script: str, *words: str) -> int:
        command = [sys.executable, str(SIDES / script), *words]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        return int(done.stdout.split()[-1])

    with tempfile.TemporaryDirectory(prefix="genlab-generative-") as scratch:
        stored = f"{scratch}/pixels.npy"
        np.save(stored, pixels(images))
        settings = json.dumps({**as_dict(config), "device": DEVICE})
        return {
            "ours": run("rank.py", kind, json.dumps(as_dict(config)), options.data_root or "", scratch),
            "example": run("examples.py", kind, settings, stored, str(2 * config.epoch_steps)),
        }


def pixels(images: ImageSet) -> np.ndarray:
    """uint8, [N, S, S] of gray images, [N, S, S, C] of others."""
    return images.images.permute(0, 2, 3, 1).squeeze(-1).contiguous().numpy()


if __name__ == "__main__":
    main(tyro.cli(Options))
