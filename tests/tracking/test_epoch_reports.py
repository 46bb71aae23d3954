"""Epoch reports: what goes in comes out, a cut one is always noticed, and opening one runs nothing."""

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
from genlab.tensorfile import pack, unpack
from genlab.tracking.epoch_reports import EpochReport, ReplicaReport, merge


def made(seeds: tuple[int, ...] = (0, 1)) -> EpochReport:
    rng = np.random.default_rng(0)
    replicas = [
        ReplicaReport(
            {"kid": float(rng.random()), "accuracy/pgd/eps_0.03": 0.5},
            {"loss/generator": rng.random(7).astype(np.float32), "score/real": np.array([np.nan, 1], np.float32)},
            {
                "samples": rng.integers(0, 256, (4, 6, 5, 3), dtype=np.uint8),
                "figure": rng.integers(0, 256, (7, 3, 4), dtype=np.uint8),
                "by_class": rng.integers(0, 256, (5, 2, 6, 4, 1), dtype=np.uint8).swapaxes(0, 1),  # not contiguous
            },
        )
        for _ in seeds
    ]
    return EpochReport("00003", 4, 1_760_000_000.25, 21, seeds, replicas, True, {"host": "a", "lane": 1})


WHOLE = made().encode()


def test_what_goes_in_comes_out() -> None:
    report, back = made(), EpochReport.decode(WHOLE, "report")
    assert (back.trial, back.epoch, back.time, back.first_step) == ("00003", 4, 1_760_000_000.25, 21)
    assert back.seeds == (0, 1) and back.diverged and back.host == {"host": "a", "lane": 1}
    assert back.metrics() == report.metrics()
    for a, b in zip(report.replicas, back.replicas, strict=True):
        assert list(a.steps) == list(b.steps)
        for key in a.steps:
            np.testing.assert_array_equal(a.steps[key], b.steps[key])
        assert list(b.images) == ["samples", "figure", "by_class"]  # in the order in which they were given
        assert [b.images[key].shape for key in b.images] == [(4, 6, 5, 3), (7, 3, 4), (2, 5, 6, 4, 1)]
        for key, images in a.images.items():
            np.testing.assert_array_equal(b.images[key], images)
            assert b.images[key].dtype == np.uint8


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(WHOLE) - 1))
def test_cut_anywhere_it_is_noticed(length: int) -> None:
    with pytest.raises(CorruptFile, match=r"epoch-4"):
        EpochReport.decode(WHOLE[:length], "epoch-4")


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    with pytest.raises(CorruptFile):
        EpochReport.decode(pickle.dumps(Bomb(tmp_path / "ran")), "report")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "header", [{"kind": "state", "format": 2}, {"kind": "epoch report", "format": 1}, {"kind": "part", "format": 1}, {}]
)
def test_another_kind_or_format_is_refused(header: dict[str, Any]) -> None:
    with pytest.raises(CorruptFile, match="epoch-4 is no epoch report of format 2"):
        EpochReport.decode(pack({}, header), "epoch-4")


@pytest.mark.parametrize("missing", ["trial", "seeds", "replicas", "host"])
def test_a_header_that_lacks_something_is_damage(missing: str) -> None:
    arrays, header = unpack(WHOLE, "whole")
    del header[missing]
    with pytest.raises(CorruptFile, match=f"epoch-4 is damaged.*{missing}"):
        EpochReport.decode(pack(arrays, header), "epoch-4")


def test_an_array_that_the_header_names_and_the_file_lacks_is_damage() -> None:
    arrays, header = unpack(WHOLE, "whole")
    del arrays["images/1/figure"]
    with pytest.raises(CorruptFile, match=r"epoch-4 is damaged.*images/1/figure"):
        EpochReport.decode(pack(arrays, header), "epoch-4")


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
