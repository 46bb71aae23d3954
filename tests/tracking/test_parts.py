"""Parts: what goes in comes out, a cut one is always noticed, and opening one runs nothing."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genlab.errors import CorruptFile
from genlab.tensorfile import pack
from genlab.tracking.parts import Part, ReplicaPart, merge


def made(seeds: tuple[int, ...] = (0, 1)) -> Part:
    rng = np.random.default_rng(0)
    replicas = [
        ReplicaPart(
            {"kid": float(rng.random()), "accuracy/pgd/eps_0.03": 0.5},
            {"loss/generator": rng.random(7).astype(np.float32), "score/real": np.array([np.nan, 1], np.float32)},
            {"samples": rng.integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)},
        )
        for _ in seeds
    ]
    return Part("00003", 4, 1_760_000_000.25, 21, seeds, replicas, True, {"host": "a", "lane": 1})


WHOLE = made().encode()


def test_what_goes_in_comes_out() -> None:
    part, back = made(), Part.decode(WHOLE, "part")
    assert (back.trial, back.epoch, back.time, back.first_step) == ("00003", 4, 1_760_000_000.25, 21)
    assert list(back.seeds) == [0, 1] and back.diverged and back.place == {"host": "a", "lane": 1}
    assert back.metrics() == part.metrics()
    for a, b in zip(part.replicas, back.replicas, strict=True):
        assert set(a.steps) == set(b.steps) and set(a.images) == set(b.images)
        for key in a.steps:
            np.testing.assert_array_equal(a.steps[key], b.steps[key])
        np.testing.assert_array_equal(a.images["samples"], b.images["samples"])
        assert b.images["samples"].dtype == np.uint8


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(WHOLE) - 1))
def test_cut_anywhere_it_is_noticed(length: int) -> None:
    with pytest.raises(CorruptFile, match=r"epoch-4"):
        Part.decode(WHOLE[:length], "epoch-4")


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    with pytest.raises(CorruptFile):
        Part.decode(pickle.dumps(Bomb(tmp_path / "ran")), "part")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("header", [{"kind": "state", "format": 1}, {"kind": "part", "format": 2}, {}])
def test_another_kind_or_format_is_refused(header: dict[str, Any]) -> None:
    with pytest.raises(CorruptFile, match="no part of format 1"):
        Part.decode(pack({}, header), "part")


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=6))
def test_replicas_become_mean_spread_and_each(values: list[float]) -> None:
    seeds = list(range(10, 10 + len(values)))
    merged = merge([{"kid": value, **({"extra": 1.0} if i else {})} for i, value in enumerate(values)], seeds)
    assert merged["kid"] == pytest.approx(sum(values) / len(values), abs=1e-9)
    assert merged["kid/std"] == pytest.approx(np.std(values, ddof=1), abs=1e-9)
    assert [merged[f"kid/seed_{seed}"] for seed in seeds] == values
    assert "extra" not in merged  # not all replicas have it


def test_one_replica_has_no_spread() -> None:
    assert merge([{"kid": 1.5}], [0]) == {"kid": 1.5}
