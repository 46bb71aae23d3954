"""What one epoch of one trial showed, as one file: metrics, the curve of every step and images, by replica."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from genlab.errors import CorruptFile
from genlab.tensorfile import pack, unpack

FORMAT = 2
KIND = "epoch report"  # in the file's header


@dataclass(frozen=True)
class ReplicaReport:
    """What one replica showed.

    Attributes:
        metrics: values by name; non-finite ones are allowed.
        steps: a value a step by name, float32 [steps].
        images: by key, in the order of their importance; uint8 [H, W, C], [N, H, W, C] or [R, K, H, W, C], as
            `genlab.grids` shows them.
    """

    metrics: Mapping[str, float]
    steps: Mapping[str, np.ndarray] = field(default_factory=dict)
    images: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class EpochReport:
    """One epoch of one trial.

    Attributes:
        trial: its name.
        epoch: counted from 1.
        time: when it was trained, seconds since 1970.
        first_step: iterations before this epoch, since the start of training.
        seeds: one a replica.
        replicas: what each one showed.
        diverged: a loss was not finite; the metrics are then the last finite ones.
        host: what it ran on (host, device, lane, workers), JSON values by name.
    """

    trial: str
    epoch: int
    time: float
    first_step: int
    seeds: Sequence[int]
    replicas: Sequence[ReplicaReport]
    diverged: bool = False
    host: Mapping[str, Any] = field(default_factory=dict)

    def metrics(self) -> dict[str, float]:
        """Each metric; with several replicas the mean, beside `<metric>/std` and `<metric>/seed_<i>`."""
        return merge([replica.metrics for replica in self.replicas], self.seeds)

    def encode(self) -> bytes:
        """The report as one file."""
        arrays = {}
        for i, replica in enumerate(self.replicas):
            arrays |= {f"steps/{i}/{name}": curve.astype(np.float32) for name, curve in replica.steps.items()}
            arrays |= {f"images/{i}/{key}": images for key, images in replica.images.items()}
        header = {
            "format": FORMAT,
            "kind": KIND,
            "trial": self.trial,
            "epoch": self.epoch,
            "time": self.time,
            "first_step": self.first_step,
            "seeds": list(self.seeds),
            "replicas": [  # the file itself does not keep the order of its arrays
                {"metrics": dict(replica.metrics), "steps": list(replica.steps), "images": list(replica.images)}
                for replica in self.replicas
            ],
            "diverged": self.diverged,
            "host": dict(self.host),
        }
        return pack(arrays, header)

    @staticmethod
    def decode(data: bytes, name: str) -> EpochReport:
        """The report in a file that `encode` made; `name` is what an error calls it. Sequences come back as tuples.

        Raises:
            CorruptFile: cut short, or no report of the format that is known here.
        """
        arrays, header = unpack(data, name)
        if header.get("kind") != KIND or header.get("format") != FORMAT:
            raise CorruptFile(f"{name} is no epoch report of format {FORMAT}")
        try:
            replicas = [
                ReplicaReport(
                    own["metrics"],
                    {step: arrays[f"steps/{i}/{step}"] for step in own["steps"]},
                    {key: arrays[f"images/{i}/{key}"] for key in own["images"]},
                )
                for i, own in enumerate(header["replicas"])
            ]
            rest = {key: header[key] for key in ("trial", "epoch", "time", "first_step", "diverged", "host")}
            return EpochReport(seeds=tuple(header["seeds"]), replicas=tuple(replicas), **rest)
        except (KeyError, ValueError, TypeError) as error:
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
