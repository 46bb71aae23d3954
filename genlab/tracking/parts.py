"""A part: what one epoch of one trial showed. Metrics, the curve of every step and images, by replica."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from genlab.errors import CorruptFile
from genlab.tensorfile import pack, unpack

FORMAT = 1


@dataclass(frozen=True)
class ReplicaPart:
    """What one replica showed: `steps` by name, float32 [steps]; `images` by key, uint8 [N, H, W, C]."""

    metrics: Mapping[str, float]
    steps: Mapping[str, np.ndarray] = field(default_factory=dict)
    images: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """One epoch of one trial. `first_step` counts iterations from the start of training, `time` is in seconds since
    1970, `diverged` says that a loss was not finite (the metrics are then the last finite ones)."""

    trial: str
    epoch: int
    time: float
    first_step: int
    seeds: Sequence[int]
    replicas: Sequence[ReplicaPart]
    diverged: bool = False
    place: Mapping[str, Any] = field(default_factory=dict)

    def metrics(self) -> dict[str, float]:
        """Each metric; with several replicas the mean, beside `<metric>/std` and `<metric>/seed_<i>`."""
        return merge([replica.metrics for replica in self.replicas], self.seeds)

    def encode(self) -> bytes:
        """The part as one file."""
        arrays = {}
        for i, replica in enumerate(self.replicas):
            arrays |= {f"steps/{i}/{name}": curve.astype(np.float32) for name, curve in replica.steps.items()}
            arrays |= {f"images/{i}/{key}": images for key, images in replica.images.items()}
        header = {
            "format": FORMAT,
            "kind": "part",
            "trial": self.trial,
            "epoch": self.epoch,
            "time": self.time,
            "first_step": self.first_step,
            "seeds": list(self.seeds),
            "metrics": [dict(replica.metrics) for replica in self.replicas],
            "diverged": self.diverged,
            "place": dict(self.place),
        }
        return pack(arrays, header)

    @staticmethod
    def decode(data: bytes, name: str) -> Part:
        """The part in a file that `encode` made; `name` is what an error calls it.

        Raises:
            CorruptFile: cut short, or no part of a format that is known here.
        """
        arrays, header = unpack(data, name)
        if header.get("kind") != "part" or header.get("format") != FORMAT:
            raise CorruptFile(f"{name} is no part of format {FORMAT}")
        try:
            steps: list[dict[str, np.ndarray]] = [{} for _ in header["metrics"]]
            images: list[dict[str, np.ndarray]] = [{} for _ in header["metrics"]]
            for path, array in arrays.items():
                kind, i, key = path.split("/", 2)
                {"steps": steps, "images": images}[kind][int(i)][key] = array
            names = ("trial", "epoch", "time", "first_step", "seeds", "diverged", "place")
            return Part(
                replicas=[ReplicaPart(*own) for own in zip(header["metrics"], steps, images, strict=True)],
                **{name: header[name] for name in names},
            )
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise CorruptFile(f"{name} is damaged: {type(error).__name__} {error}") from error


def merge(by_replica: Sequence[Mapping[str, float]], seeds: Sequence[int]) -> dict[str, float]:
    """Mean over replicas of the metrics that all of them have; with several, the sample spread and each one too."""
    names = [name for name in by_replica[0] if all(name in metrics for metrics in by_replica)]
    merged = {}
    for name in names:
        values = [metrics[name] for metrics in by_replica]
        merged[name] = float(np.mean(values))
        if len(values) > 1:
            merged[f"{name}/std"] = float(np.std(values, ddof=1))
            merged |= {f"{name}/seed_{seed}": value for seed, value in zip(seeds, values, strict=True)}
    return merged
