"""What a replica finds around it, in one process. On several ranks: tests/training/test_ranks.py."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from test_gan_task import painted
from torch import Tensor

from genlab.errors import GenlabError
from genlab.tasks import Context


def test_items_come_in_chunks_and_in_order() -> None:
    seen: list[Tensor] = []

    def squares(items: Tensor) -> Tensor:
        seen.append(items)
        return items**2

    assert Context().map_shards(7, squares, chunk=3).tolist() == [i * i for i in range(7)]
    assert [items.tolist() for items in seen] == [[0, 1, 2], [3, 4, 5], [6]]
    assert all(items.dtype == torch.int64 and items.device.type == "cpu" for items in seen)
    seen.clear()
    assert len(Context().map_shards(600, squares)) == 600
    assert [len(items) for items in seen] == [250, 250, 100]  # what an evaluation holds at once


def test_in_a_rehearsal_a_few_items_stand_for_all() -> None:
    seen: list[int] = []

    def squares(items: Tensor) -> Tensor:
        seen.extend(items.tolist())
        return torch.stack((items, items**2), 1)

    context = Context(rehearsal=True)
    rows = context.map_shards(1000, squares)
    assert seen == [0, 125, 250, 375, 500, 625, 750, 875] and rows.shape == (1000, 2)
    assert rows[:, 0].tolist() == [i // 125 * 125 for i in range(1000)]
    assert torch.equal(rows[:, 1], rows[:, 0] ** 2)
    seen.clear()
    assert context.map_shards(11, squares)[:, 0].tolist() == [0, 0, 2, 3, 3, 5, 6, 7, 7, 9, 10]
    seen.clear()
    assert context.map_shards(7, squares)[:, 0].tolist() == seen == [*range(7)]
    with pytest.raises(GenlabError, match="compute returned 1 rows for 8 items"):
        context.map_shards(1000, lambda items: items.float().mean()[None])
    assert (context.few(3), context.few(1000), Context().few(1000)) == (3, 8, 1000)


def test_one_process_combines_nothing() -> None:
    tensor = torch.tensor([1.0, 2.0])
    assert torch.equal(Context().all_gather(tensor), tensor)
    assert torch.equal(Context().all_reduce_mean(tensor), tensor)


def test_data_are_loaded_at_the_size_and_from_the_root_that_are_given(tmp_path: Path) -> None:
    painted(tmp_path, 20)
    found = Context(data_root=str(tmp_path)).load("image_folder", "test", 16)
    assert (found.split, found.shape) == ("test", (2, 3, 16, 16))
    assert Context().load("digits", "validation").shape == (300, 1, 32, 32)


def test_another_number_of_rows_than_items_is_refused() -> None:
    with pytest.raises(GenlabError, match="compute returned 1 rows for 5 items"):
        Context().map_shards(5, lambda items: items.float().mean()[None])
