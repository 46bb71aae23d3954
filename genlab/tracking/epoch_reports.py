"""What one epoch of one trial showed, as one file: metrics, the curve of every step and images, by replica."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from msgspec import field as member

from genlab.errors import CorruptFile
from genlab.grids import Labels, can_be_shown, check_labels, labelled
from genlab.tensorfile import pack, unpack
from genlab.tracking.schema import Count, Number, Record, Scalar, Time, TrialName, as_json, checked
from genlab.tracking.storage import FileName, Storage

FORMAT = 3

Where = Literal["host", "device", "lane", "workers"]
"""What a report says of what it ran on. Each is a tag of its run: any other name could be a tag of genlab's own."""


@dataclass(frozen=True)
class ReplicaReport:
    """What one replica showed.

    Attributes:
        metrics: values by name; non-finite ones are allowed.
        steps: a value a step by name, float32 [steps].
        images: by key, in the order of their importance; uint8 [H, W, C], [N, H, W, C] or [R, K, H, W, C], as
            `genlab.grids` shows them.
        labels: of rows and columns of images, by their keys.
    """

    metrics: Mapping[str, float]
    steps: Mapping[str, np.ndarray] = field(default_factory=dict)
    images: Mapping[str, np.ndarray] = field(default_factory=dict)
    labels: Mapping[str, Labels] = field(default_factory=dict)

    def picture(self, key: str) -> np.ndarray:
        """The images of `key` as one picture with their labels, uint8 [H, W, 3]."""
        return labelled(self.images[key], *self.labels.get(key, Labels()))


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
        host: what it ran on, JSON values by name.
    """

    trial: str
    epoch: int
    time: float
    first_step: int
    seeds: Sequence[int]
    replicas: Sequence[ReplicaReport]
    diverged: bool = False
    host: Mapping[Where, Any] = field(default_factory=dict)

    def metrics(self) -> dict[str, float]:
        """Each metric; with several replicas the mean, beside `<metric>/std` and `<metric>/seed_<i>`."""
        return merge([replica.metrics for replica in self.replicas], self.seeds)

    def encode(self) -> bytes:
        """The report as one file."""
        arrays = {}
        for i, replica in enumerate(self.replicas):
            arrays |= {f"steps/{i}/{name}": curve.astype(np.float32) for name, curve in replica.steps.items()}
            arrays |= {f"images/{i}/{key}": images for key, images in replica.images.items()}
        header = Header(
            format=FORMAT,
            kind="epoch report",
            trial=self.trial,
            epoch=self.epoch,
            time=self.time,
            first_step=self.first_step,
            seeds=list(self.seeds),
            replicas=[  # the file itself does not keep the order of its arrays
                ReplicaHeader(
                    metrics=dict(one.metrics), steps=list(one.steps), images=list(one.images), labels=dict(one.labels)
                )
                for one in self.replicas
            ],
            diverged=self.diverged,
            host=dict(self.host),
        )
        return pack(arrays, as_json(header))

    @staticmethod
    def decode(data: bytes, name: str) -> EpochReport:
        """The report in a file that `encode` made; `name` is what an error calls it. Sequences come back as tuples.

        Raises:
            CorruptFile: cut short, or no report of the format that is known here.
        """
        arrays, found = unpack(data, name)
        try:
            header = checked(found, Header)
            if len(header.seeds) != len(header.replicas) or not header.seeds:
                raise ValueError(f"it has {len(header.replicas)} replicas of {len(header.seeds)} seeds")
            replicas = tuple(_replica(arrays, i, own) for i, own in enumerate(header.replicas))
        except (KeyError, ValueError) as error:
            raise CorruptFile(f"{name} is damaged, or no epoch report of format {FORMAT}: {error}") from error
        return EpochReport(
            trial=header.trial,
            epoch=header.epoch,
            time=header.time,
            first_step=header.first_step,
            seeds=tuple(header.seeds),
            replicas=replicas,
            diverged=header.diverged,
            host=header.host,
        )

    @staticmethod
    def read(folder: Storage, name: FileName) -> EpochReport:
        """The report that an event names.

        Args:
            folder: the sweep's own.

        Raises:
            CorruptFile: it is missing, or not what was written.
        """
        return EpochReport.decode(folder.read_named(name), folder.where(name.path))


class ReplicaHeader(Record, frozen=True):
    """What one replica showed: its metrics, the names of its arrays in their order, and labels of images by key."""

    metrics: dict[str, float]
    steps: list[str] = member(default_factory=list)
    images: list[str] = member(default_factory=list)
    labels: dict[str, Labels] = member(default_factory=dict)


class Header(Record, frozen=True):
    """The header of a report's file."""

    format: Literal[3]
    kind: Literal["epoch report"]
    trial: TrialName
    epoch: Number
    time: Time
    first_step: Count
    seeds: list[Count]
    replicas: list[ReplicaHeader]
    diverged: bool
    host: dict[Where, Scalar]


def _replica(arrays: Mapping[str, np.ndarray], i: int, header: ReplicaHeader) -> ReplicaReport:
    """Raises KeyError or ValueError where an array is missing or of a kind that no report has, or labels do not fit."""
    steps = {name: arrays[f"steps/{i}/{name}"] for name in header.steps}
    images = {key: arrays[f"images/{i}/{key}"] for key in header.images}
    for name, curve in steps.items():
        if curve.dtype != np.float32 or curve.ndim != 1:
            raise ValueError(f"its steps {name!r} are {curve.dtype} {list(curve.shape)}")
    for key, own in images.items():
        if not can_be_shown(own):
            raise ValueError(f"its images {key!r} are {own.dtype} {list(own.shape)}")
    for key, labels in header.labels.items():
        check_labels(images[key], labels)
    return ReplicaReport(header.metrics, steps, images, header.labels)


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
