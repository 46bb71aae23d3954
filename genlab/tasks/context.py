"""What a replica finds around it: its rank among others, its device, data, and what was prepared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from genlab.errors import GenlabError
from genlab.tasks.prepared import Prepared
from genlab.tasks.returned import Named

if TYPE_CHECKING:
    from torch import Tensor

    from genlab.data import ImageSet

FEW = 8  # items of each kind that a rehearsal computes: for the five nearest neighbours of one, say, there must be six


@dataclass(frozen=True)
class Context:
    """Which of how many ranks this is, on which device, with what at hand.

    The methods that combine ranks are collective: every rank calls them, in the same order.

    Attributes:
        rank, world_size: this process among those that train the trial together.
        device: of torch, such as `cpu` or `cuda:0`.
        data_root: folder with the data sets; None for the usual ones.
        prepared: what the config's `prepare()` asked for, by its names.
        rehearsal: whether this is the try of a dry run, which only shows that everything runs: batches have a few
            images, `map_shards` computes a few items, and what is prepared has trained one step.
    """

    rank: int = 0
    world_size: int = 1
    device: str = "cpu"
    data_root: str | None = None
    prepared: Mapping[str, Prepared] = field(default_factory=dict)
    rehearsal: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "prepared", Named("nothing prepared as", self.prepared))

    def load(self, name: str, split: str, image_size: int = 32) -> ImageSet:
        """One split of a data set, as `genlab.data.load` finds it below `data_root`."""
        from genlab.data import load

        return load(name, split, image_size=image_size, data_root=self.data_root)

    def few(self, count: int) -> int:
        """`count`, but in a rehearsal a few at most: for what a task computes outside of `map_shards`."""
        return min(count, FEW) if self.rehearsal else count

    def all_gather(self, tensor: Tensor) -> Tensor:
        """The tensors [n, ...] of all ranks, equal in shape, as one [world_size · n, ...] in rank order."""
        if self.world_size == 1:
            return tensor
        import torch
        import torch.distributed as dist

        gathered = [torch.empty_like(tensor) for _ in range(self.world_size)]
        dist.all_gather(gathered, tensor.contiguous())
        return torch.cat(gathered)

    def all_reduce_mean(self, tensor: Tensor) -> Tensor:
        """The mean of the ranks' tensors, which are equal in shape and floating point."""
        if self.world_size == 1:
            return tensor
        import torch.distributed as dist

        total = tensor.clone()
        dist.all_reduce(total)
        return total / self.world_size

    def map_shards(self, count: int, compute: Callable[[Tensor], Tensor], chunk: int = 250) -> Tensor:
        """`compute` of the items 0..count-1, each rank computing its share of them, `chunk` items at a time.

        In a rehearsal it computes a few items, spread over all of them, and each stands for those that follow it.

        Args:
            count: how many items there are; it need not be a multiple of the ranks.
            compute: takes indices, int64 [n] on the CPU, and returns [n, ...] on the device.

        Returns:
            [count, ...] in the order of the items, the same on every rank.

        Raises:
            GenlabError: `compute` returned another number of rows.
        """
        import torch

        from genlab.data import shard

        if (few := self.few(count)) < count:
            chosen = (torch.arange(few) * count + few - 1) // few  # the first item of each of `few` equal parts
            rows = self.map_shards(few, lambda items: compute(chosen[items]), chunk)
            return rows[torch.arange(count) * few // count]
        indices, is_mine = shard(count, self.rank, self.world_size)
        own = torch.cat([compute(some) for some in indices.split(chunk)])
        if len(own) != len(indices):
            raise GenlabError(
                f"map_shards: compute returned {len(own)} rows for {len(indices)} items: it must return [n, ...], a "
                "row an item, not their mean or sum"
            )
        return self.all_gather(own)[self.all_gather(is_mine.to(own.device))]
