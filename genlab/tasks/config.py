"""What every trial can be told: configs, whose field names are the hyperparameters of a sweep. Free of torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from genlab.errors import GenlabError

if TYPE_CHECKING:
    from genlab.tasks.prepared import Source

# what tasks on images have in common
ImageSize = Literal[32, 64, 128]
Augmentation = Literal["none", "flip", "crop_flip"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings of one trial; a task's own config adds its fields.

    A field is an int, float, bool, str, a `Literal`, one of these or None, or a tuple such as `tuple[float, ...]`,
    which a command line writes `0:0.01:0.03`. It has a default, which is that of trial 0, unless every sweep sets it.
    Lists and other types are refused (`genlab.tasks.declared`): settings are compared, written and sent as they are.

    Attributes:
        implementation: `module:Class` of the task that runs this config, imported where it trains. Empty for a task
            that a sweep script defines.
        epochs: how many epochs a trial trains, if nothing ends it earlier.
        seed: seed of the first replica; replica i has seed + i.
    """

    implementation: ClassVar[str] = ""

    epochs: int = 8
    seed: int = 0

    def check(self) -> None:
        """Refuse values that no trial could be trained with.

        Raises:
            GenlabError: naming the field.
        """
        self._at_least(1, "epochs")
        self._at_least(0, "seed")

    def reports(self) -> tuple[str, ...]:
        """Names of metrics that every epoch reports: those that may be a sweep's `metric`."""
        return ()

    def prepare(self) -> Mapping[str, Source]:
        """What must exist once before a trial of this config, by the name under which its task finds it.

        Called without data and without torch, and for every setting of a sweep: what two settings have in common is
        prepared once. The task finds it as `context.prepared[name]`.
        """
        return {}

    def global_batch(self) -> int | None:
        """The batch that all ranks share, which their number must divide; None where there is no such thing."""
        return None

    def _at_least(self, least: float, *names: str) -> None:
        for name in names:
            if getattr(self, name) < least:
                raise GenlabError(f"{name}={getattr(self, name)} is too small: it must be at least {least}")

    def _within(self, low: float, high: float, *names: str) -> None:
        """Refuse values outside of low ≤ value < high."""
        for name in names:
            if not low <= getattr(self, name) < high:
                raise GenlabError(f"{name}={getattr(self, name)} is out of range: it must be in [{low}, {high})")

    def _positive(self, *names: str) -> None:
        for name in names:
            if not 0 < getattr(self, name) < math.inf:
                raise GenlabError(f"{name}={getattr(self, name)} must be positive and finite")


@dataclass(frozen=True, kw_only=True)
class PhasedConfig(Config):
    """What every task that trains in phases can be told.

    Attributes:
        batch_size: images a step and stream, over all ranks together.
        epoch_steps: steps an epoch; None for one pass over the first stream.
    """

    batch_size: int = 64
    epoch_steps: int | None = None

    def check(self) -> None:
        super().check()
        self._at_least(2, "batch_size")  # BatchNorm has no variance of a single image
        if self.epoch_steps is not None:
            self._at_least(1, "epoch_steps")

    def global_batch(self) -> int:
        return self.batch_size
