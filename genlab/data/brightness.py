"""Whether there is anything to be seen in a set's images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

_NOTHING = 16  # values between the darkest and the brightest of a channel in which nothing is seen
_SHARE = 0.01  # of a set: more images in which nothing is seen are worth a word, where they are two at least
_HALF = 127


@dataclass
class Brightness:
    """The brightness of a set's images, whose values are 0..255.

    Attributes:
        flat: images in no channel of which two values are more than 16 apart, such as nearly black ones.
        uniform: those of them that have one color.
        brightest: the greatest value of all.
        total: the sum of all values.
    """

    flat: int = 0
    uniform: int = 0
    brightest: int = 0
    total: int = 0

    def add(self, images: Tensor) -> None:
        """Take uint8 [n,C,S,S] into account, by numpy: torch would call all of its threads for a single image."""
        values = images.numpy().reshape(*images.shape[:2], -1)
        high = values.max(2)
        apart = (high - values.min(2)).max(1)
        self.flat += int((apart <= _NOTHING).sum())
        self.uniform += int((apart == 0).sum())
        self.brightest = max(self.brightest, int(high.max()))
        self.total += int(values.sum(dtype=np.uint64))

    def as_text(self) -> str:
        """Of the same length for every set."""
        return " ".join(f"{value:020d}" for value in (self.flat, self.uniform, self.brightest, self.total))

    @staticmethod
    def from_text(text: str) -> Brightness:
        """What `as_text` gave; ValueError for anything else."""
        flat, uniform, brightest, total = map(int, text.split())
        return Brightness(flat, uniform, brightest, total)

    def doubt(self, shape: tuple[int, ...]) -> str | None:
        """Why images of this shape, (N,C,S,S), may not be what was meant; None where they look as images do."""
        count, mean = shape[0], self.total / np.prod(shape, dtype=float)
        if self.flat > max(1, _SHARE * count):
            return (
                f"hardly anything is to be seen in {self.flat:,} of {count:,} images: their values lie within "
                f"{_NOTHING} of 255. Of one color are {self.uniform:,}, the mean brightness of the set is {mean:.0f}. "
                "Look at the files: values of 12 bits in a file of 16 bits, say, come out nearly black"
            )
        if self.brightest <= _HALF:
            return (
                f"no value in {count:,} images is above {self.brightest} of 255, and their mean is {mean:.0f}. Look at "
                "the files: values of 14 bits in a file of 16 bits, say, come out four times too dark"
            )
        return None
