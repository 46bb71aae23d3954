"""Batches for training, and shards for evaluation, of an image set that already lies on the device."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from genlab.data.image_set import ImageSet
from genlab.errors import GenlabError, nearest
from genlab.randomness import generator

AUGMENTATIONS = ("none", "flip", "crop_flip")
_PAD = 4
_OFFSETS = 2 * _PAD + 1


class Batch(NamedTuple):
    """images float32 [B,C,S,S] in [0,1]; labels int64 [B], or None for a set without classes."""

    images: Tensor
    labels: Tensor | None


class Stream:
    """Shuffled batches of an image set, the same at each step of training whatever happened before.

    Every pass over the set follows one permutation, seeded by (`seed`, `name`, pass). The batches of `batch_size`
    images, which is the number over all ranks, are its consecutive slices, and a rank's share is a slice of that: no
    image comes twice in a pass, and the ranks together see what one process would, augmentation included.

    The images are moved to `device` once, as uint8 (on the CPU they stay mapped); a batch is gathered, converted and
    augmented there, without waiting for the device except at the start of a pass. `augment` is "none", "flip" (half
    of the images, horizontally) or "crop_flip" (also shifted by up to 4 pixels each way, the border mirrored).
    """

    def __init__(
        self,
        image_set: ImageSet,
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        device: torch.device | str = "cpu",
        augment: str = "none",
        name: str = "real",
    ) -> None:
        """Raises GenlabError for a `batch_size` that is not a multiple of `world`, a rank outside of 0..world-1, a set
        with fewer images than ranks, or an augmentation that does not exist or needs larger images.
        """
        _check_rank(rank, world)
        if batch_size < 1 or batch_size % world:
            raise GenlabError(f"batch_size is {batch_size}: it must be a multiple of the number of workers, {world}")
        if augment not in AUGMENTATIONS:
            raise GenlabError(f"no augmentation {augment!r}: {nearest(augment, AUGMENTATIONS)}")
        if augment == "crop_flip" and image_set.image_size <= _PAD:
            raise GenlabError(f"crop_flip needs images larger than {_PAD} pixels, not {image_set.image_size}")
        count = len(image_set)
        if count < world:
            raise GenlabError(f"{image_set.name} has {count} {image_set.split} images, fewer than {world} workers")
        self._images, self._labels = image_set.on(device)
        self._count, self._seed, self._name, self._augment = count, seed, name, augment
        self._rank, self._world = rank, world
        self._steps = max(1, count // batch_size)
        self._share = min(batch_size // world, count // world)
        self._pass = -1
        self._order: Tensor
        self._draws: Tensor
        if augment != "none":
            self._make_tables(image_set.channels, image_set.image_size)

    @property
    def steps_per_pass(self) -> int:
        """Batches in one pass over the set. An incomplete last batch is dropped; a set smaller than one batch is one
        batch, of as many images as the ranks can share equally.
        """
        return self._steps

    @property
    def global_batch(self) -> int:
        """Images in one batch, over all ranks: `batch_size`, or what a smaller set has for equal shares."""
        return self._share * self._world

    def batch(self, step: int) -> Batch:
        """This rank's images and labels at `step` (0 or more) counted from the start of training."""
        number, index = divmod(step, self._steps)
        if number != self._pass:
            self._start_pass(number)
        chosen = self._order[index]
        images = self._images.index_select(0, chosen)
        if self._augment != "none":
            images = self._augmented(images, self._draws[index])
        labels = None if self._labels is None else self._labels.index_select(0, chosen)
        return Batch(images.to(torch.float32).div_(255), labels)

    def _start_pass(self, number: int) -> None:
        shuffle = generator(self._seed, f"shuffle/{self._name}", number)
        self._order = self._own(torch.randperm(self._count, generator=shuffle))
        if self._augment != "none":
            # All of a pass at once, on the CPU: no seeding and no transfer in a step, and every device draws the same.
            random = generator(self._seed, f"augment/{self._name}", number)
            shifts = torch.randint(_OFFSETS, (2, self._count), generator=random)
            flips = torch.randint(2, (self._count,), generator=random)
            self._draws = self._own(torch.stack((shifts[0], shifts[1] + flips * _OFFSETS), dim=1))
        self._pass = number

    def _own(self, values: Tensor) -> Tensor:
        """This rank's [steps, share, ...] of values that belong to the positions 0, 1, ... of a pass, on the device."""
        used = values[: self._steps * self._world * self._share]
        own = used.view(self._steps, self._world, self._share, *values.shape[1:])[:, self._rank]
        own = own.contiguous()
        if self._images.is_cuda:
            own = own.pin_memory()  # the step need not wait for the copy
        return own.to(self._images.device, non_blocking=True)

    def _make_tables(self, channels: int, size: int) -> None:
        """For each shift the row (or column) that every pixel comes from; in the second half, mirrored."""
        device = self._images.device
        shifts = torch.arange(_OFFSETS)[:, None] - _PAD
        sources = (torch.arange(size) + shifts).abs()
        sources = size - 1 - (size - 1 - sources).abs()
        self._sources = torch.cat((sources, sources.flip(1))).to(device)
        self._first_rows = (torch.arange(self._share * channels) * size).view(self._share, channels, 1).to(device)

    def _augmented(self, images: Tensor, draws: Tensor) -> Tensor:
        """Two gathers instead of padding, cropping and flipping image by image."""
        size = images.shape[3]
        if self._augment == "crop_flip":
            rows = self._first_rows + self._sources[draws[:, 0], None]
            images = images.view(-1, size).index_select(0, rows.view(-1)).view(images.shape)
            columns = self._sources[draws[:, 1]]
        else:
            flipped = draws[:, 1] // _OFFSETS
            columns = self._sources[_PAD + flipped * _OFFSETS]
        return images.gather(3, columns[:, None, None, :].expand(images.shape))


def shard(count: int, rank: int, world: int) -> tuple[Tensor, Tensor]:
    """This rank's share of the items 0..count-1 for evaluation: indices int64 [L] and mask bool [L].

    L is the same on every rank. Over all ranks each item appears exactly once where the mask is True; where it is
    False the entry repeats the last item, to be left out of the result. Raises GenlabError for a bad rank or count.
    """
    _check_rank(rank, world)
    if count < 0:
        raise GenlabError(f"{count} items cannot be shared out")
    length = -(-count // world)
    positions = torch.arange(rank * length, (rank + 1) * length)
    return positions.clamp(max=max(0, count - 1)), positions < count


def _check_rank(rank: int, world: int) -> None:
    if world < 1 or not 0 <= rank < world:
        raise GenlabError(f"rank {rank} of {world} workers does not exist")
