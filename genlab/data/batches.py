"""Batches of an image set for training, and shards of it for evaluation."""

from __future__ import annotations

import logging
from typing import NamedTuple

import torch
from torch import Tensor

from genlab.data.image_set import ImageSet
from genlab.data.prefetch import Prefetch
from genlab.errors import GenlabError, nearest
from genlab.randomness import generator

logger = logging.getLogger(__name__)
AUGMENTATIONS = ("none", "flip", "crop_flip")
_PAD = 4
_OFFSETS = 2 * _PAD + 1
_said: set[tuple[str, int]] = set()  # streams and batch sizes of whose small sets this process warned


class Batch(NamedTuple):
    """images float32 [B,C,S,S] in [0,1]; labels int64 [B], or None for a set without classes."""

    images: Tensor
    labels: Tensor | None


class _Pass(NamedTuple):
    """What a rank uses in one pass over the set, by step and position in its share of a batch.

    items: int64 [steps,share], the images by their number in the whole set: on the device that keeps the set, on the
        CPU where none does.
    labels: int64 [steps,share] on the device, or None.
    offsets: int64 [steps,share,2] on the device, rows of `Batches._sources` to augment by; None without augmentation.
    """

    items: Tensor
    labels: Tensor | None
    offsets: Tensor | None


class Batches:
    """Shuffled batches of an image set, the same at each step of training whatever happened before.

    Every pass over the set follows one permutation, seeded by (`seed`, `name`, pass). The batches of `batch_size`
    images, which is the number over all ranks, are its consecutive slices, and a rank's share is a slice of that: no
    image comes twice in a pass, and the ranks together see what one process would, augmentation included. Of a set with
    fewer images each batch has all of them, or as many as the ranks can share equally, and the first such set of a
    stream warns.

    A set within the budget of `device` (`genlab.data.memory`) is moved there once, as uint8 (on the CPU it stays
    mapped), and a batch is gathered there; a subset uses the copy of its base. Of a larger set a thread reads the
    images of the next batch while one is used. Batches are converted and augmented on the device, and are the same
    either way. No step waits for the device, except at the start of a pass.

    `augment` is "none", "flip" (half of the images, horizontally) or "crop_flip" (also shifted by up to 4 pixels each
    way, the border mirrored).
    """

    def __init__(
        self,
        image_set: ImageSet,
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        device: torch.device | str = "cpu",
        augment: str = "none",
        name: str = "real",
    ) -> None:
        """Raises GenlabError for a `batch_size` that is not a multiple of `world_size`, a rank outside of
        0..world_size-1, a set with fewer images than ranks, or an augmentation that does not exist or needs larger
        images.
        """
        _check_rank(rank, world_size)
        if batch_size < 1 or batch_size % world_size:
            raise GenlabError(
                f"batch_size is {batch_size}: it must be a multiple of the number of workers, {world_size}"
            )
        if augment not in AUGMENTATIONS:
            raise GenlabError(f"no augmentation {augment!r}: {nearest(augment, AUGMENTATIONS)}")
        if augment == "crop_flip" and image_set.image_size <= _PAD:
            raise GenlabError(f"crop_flip needs images larger than {_PAD} pixels, not {image_set.image_size}")
        count = len(image_set)
        if count < world_size:
            raise GenlabError(f"{image_set.name} has {count} {image_set.split} images, fewer than {world_size} workers")
        self._labels, self._indices = image_set.labels, image_set.indices
        self._count, self._seed, self._name, self._augment = count, seed, name, augment
        self._rank, self._world_size = rank, world_size
        self._steps = max(1, count // batch_size)
        self._share = min(batch_size // world_size, count // world_size)
        if count < batch_size and rank == 0:
            _say_small(name, count, batch_size, self._share * world_size)
        self._device = torch.device(device)
        self._kept: Tensor | None = None
        self._prefetch: Prefetch | None = None
        if image_set.pixels.fits(self._device):
            self._kept = image_set.pixels.on(self._device)
        else:
            self._prefetch = Prefetch(image_set.pixels, self._share, self._device)
        self._passes: dict[int, _Pass] = {}
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
        return self._share * self._world_size

    def batch(self, step: int) -> Batch:
        """This rank's images and labels at `step` (0 or more) counted from the start of training.

        Raises StorageError where the set's file has to be read and cannot be.
        """
        number, index = divmod(step, self._steps)
        own = self._pass(number)
        if self._prefetch is None:
            assert self._kept is not None
            images = self._kept.index_select(0, own.items[index])
        else:
            images = self._prefetch.take(step, self._items)
        if own.offsets is not None:
            images = self._augmented(images, own.offsets[index])
        labels = None if own.labels is None else own.labels[index].clone()
        return Batch(images.to(torch.float32).div_(255), labels)

    def _items(self, step: int) -> Tensor:
        number, index = divmod(step, self._steps)
        return self._pass(number).items[index]

    def _pass(self, number: int) -> _Pass:
        """The last two are kept: reading ahead begins the next pass before this one ends."""
        if number not in self._passes:
            if len(self._passes) == 2:
                del self._passes[next(iter(self._passes))]
            self._passes[number] = self._drawn(number)
        return self._passes[number]

    def _drawn(self, number: int) -> _Pass:
        """All of a pass at once, on the CPU: no seeding and no transfer in a step, and every device draws the same."""
        shuffle = generator(self._seed, f"shuffle/{self._name}", number)
        order = torch.randperm(self._count, generator=shuffle)
        items = self._own(order if self._indices is None else self._indices[order])
        offsets = None
        if self._augment != "none":
            random = generator(self._seed, f"augment/{self._name}", number)
            shifts = torch.randint(_OFFSETS, (2, self._count), generator=random)
            flips = torch.randint(2, (self._count,), generator=random)
            offsets = self._moved(self._own(torch.stack((shifts[0], shifts[1] + flips * _OFFSETS), dim=1)))
        labels = None if self._labels is None else self._moved(self._own(self._labels[order]))
        return _Pass(items if self._kept is None else self._moved(items), labels, offsets)

    def _own(self, values: Tensor) -> Tensor:
        """This rank's [steps, share, ...] of values that belong to the positions 0, 1, ... of a pass."""
        used = values[: self._steps * self._world_size * self._share]
        return used.view(self._steps, self._world_size, self._share, *values.shape[1:])[:, self._rank].contiguous()

    def _moved(self, values: Tensor) -> Tensor:
        if self._device.type == "cuda":
            values = values.pin_memory()  # the step need not wait for the copy
        return values.to(self._device, non_blocking=True)

    def _make_tables(self, channels: int, size: int) -> None:
        """For each shift the row (or column) that every pixel comes from; in the second half, mirrored."""
        shifts = torch.arange(_OFFSETS)[:, None] - _PAD
        sources = (torch.arange(size) + shifts).abs()
        sources = size - 1 - (size - 1 - sources).abs()
        self._sources = torch.cat((sources, sources.flip(1))).to(self._device)
        self._first_rows = (torch.arange(self._share * channels) * size).view(self._share, channels, 1).to(self._device)

    def _augmented(self, images: Tensor, offsets: Tensor) -> Tensor:
        """Two gathers instead of padding, cropping and flipping image by image."""
        size = images.shape[3]
        if self._augment == "crop_flip":
            rows = self._first_rows + self._sources[offsets[:, 0], None]
            images = images.view(-1, size).index_select(0, rows.view(-1)).view(images.shape)
            columns = self._sources[offsets[:, 1]]
        else:
            flipped = offsets[:, 1] // _OFFSETS
            columns = self._sources[_PAD + flipped * _OFFSETS]
        return images.gather(3, columns[:, None, None, :].expand(images.shape))


def _say_small(name: str, count: int, batch_size: int, used: int) -> None:
    """Once, however many trials and epochs make the same batches."""
    if (name, batch_size) in _said:
        return
    _said.add((name, batch_size))
    logger.warning(
        "the stream %s has %d images, fewer than batch_size=%d: each batch is %s%d of them",
        *(name, count, batch_size, "all " if used == count else "", used),
    )


def shard(count: int, rank: int, world_size: int) -> tuple[Tensor, Tensor]:
    """This rank's share of the items 0..count-1 for evaluation: indices int64 [L] and mask bool [L].

    L is the same on every rank. Over all ranks each item appears exactly once where the mask is True; where it is
    False the entry repeats the last item, to be left out of the result. Raises GenlabError for a bad rank or count.
    """
    _check_rank(rank, world_size)
    if count < 0:
        raise GenlabError(f"{count} items cannot be shared out")
    length = -(-count // world_size)
    positions = torch.arange(rank * length, (rank + 1) * length)
    return positions.clamp(max=max(0, count - 1)), positions < count


def _check_rank(rank: int, world_size: int) -> None:
    if world_size < 1 or not 0 <= rank < world_size:
        raise GenlabError(f"rank {rank} of {world_size} workers does not exist")
