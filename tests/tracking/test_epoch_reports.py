"""Epoch reports: what goes in comes out, a cut one is always noticed, and opening one runs nothing."""

from __future__ import annotations

import json
import math
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from genlab.errors import CorruptFile
from genlab.grids import Labels, grid, labelled
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
            {"by_class": Labels(("cat", "dög"), tuple("abcde"))},
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
        assert b.labels == a.labels and isinstance(b.labels["by_class"], Labels)
        by_class = labelled(a.images["by_class"], ("cat", "dög"), tuple("abcde"))
        np.testing.assert_array_equal(b.picture("by_class"), by_class)
        np.testing.assert_array_equal(b.picture("samples"), grid(a.images["samples"]))


def test_the_file_as_another_program_reads_it() -> None:
    """Safetensors: the length of the header in eight bytes, then the header as JSON, then the arrays."""
    replicas = [
        ReplicaReport(
            {"kid": 0.5, "fid": math.nan}, {"loss": np.array([1.5, 2.5])}, {"b": np.full((1, 2, 3), 9, np.uint8)}
        ),
        ReplicaReport({"kid": math.inf}, {"score": np.array([3], np.int64)}),
    ]
    data = EpochReport("0001", 2, 1_760_000_000.5, 40, [7, 11], replicas, host={"host": "a", "lane": 1}).encode()
    head = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    header = head.pop("__metadata__")
    assert {name: (one["dtype"], one["shape"]) for name, one in head.items()} == {
        "steps/0/loss": ("F32", [2]),
        "steps/1/score": ("F32", [1]),
        "images/0/b": ("U8", [1, 2, 3]),
    }
    assert '"fid": NaN' in header["genlab"]
    kept = json.loads(header["genlab"].replace("NaN", "0.25"))
    assert len(kept.pop("crc32")) == 8
    assert kept == {
        "format": 3,
        "kind": "epoch report",
        "trial": "0001",
        "epoch": 2,
        "time": 1_760_000_000.5,
        "first_step": 40,
        "seeds": [7, 11],
        "replicas": [
            {"metrics": {"kid": 0.5, "fid": 0.25}, "steps": ["loss"], "images": ["b"], "labels": {}},
            {"metrics": {"kid": math.inf}, "steps": ["score"], "images": [], "labels": {}},
        ],
        "diverged": False,
        "host": {"host": "a", "lane": 1},
    }
    back = EpochReport.decode(data, "report")
    assert math.isnan(back.replicas[0].metrics["fid"]) and back.replicas[1].metrics == {"kid": math.inf}
    assert back.host == {"host": "a", "lane": 1} and not back.diverged
    np.testing.assert_array_equal(back.replicas[0].steps["loss"], [1.5, 2.5])
    np.testing.assert_array_equal(back.replicas[1].steps["score"], [3.0])
    assert not back.replicas[1].images


@settings(max_examples=300)
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
    "header", [{"kind": "state", "format": 3}, {"kind": "epoch report", "format": 2}, {"kind": "part", "format": 1}]
)
def test_another_kind_or_format_is_refused(header: dict[str, Any]) -> None:
    with pytest.raises(CorruptFile, match="epoch-4 is damaged, or no epoch report of format 3"):
        EpochReport.decode(pack({}, header), "epoch-4")


@pytest.mark.parametrize("header", [[1], "text", None, 3])
def test_a_header_that_is_no_mapping_is_damage(header: Any) -> None:
    data = safetensors.numpy.save({}, metadata={"genlab": json.dumps(header)})
    with pytest.raises(CorruptFile, match="epoch-4 is damaged"):
        unpack(data, "epoch-4")


def test_a_file_of_another_program_is_refused() -> None:
    for metadata in (None, {"other": "{}"}, {"genlab": "{"}):
        with pytest.raises(CorruptFile, match="epoch-4 is damaged or was not written by genlab"):
            unpack(safetensors.numpy.save({"a": np.zeros(2)}, metadata=metadata), "epoch-4")


@pytest.mark.parametrize("missing", ["trial", "seeds", "replicas", "host"])
def test_a_header_that_lacks_something_is_damage(missing: str) -> None:
    arrays, header = unpack(WHOLE, "whole")
    del header[missing]
    with pytest.raises(CorruptFile, match=f"epoch-4 is damaged.*{missing}"):
        EpochReport.decode(pack(arrays, header), "epoch-4")


@pytest.mark.parametrize(
    "labels",
    [
        {"by_class": [["cat"], []]},
        {"by_class": [["cat", 7], []]},
        {"by_class": [["cat", "dog"]] * 3},
        {"by_class": 7},
        {"samples": [["cat"], []]},
        {"nowhere": [["cat"], []]},
        ["cat"],
    ],
)
def test_labels_that_do_not_fit_their_images_are_damage(labels: Any) -> None:
    arrays, header = unpack(WHOLE, "whole")
    header["replicas"][1]["labels"] = labels
    with pytest.raises(CorruptFile, match="epoch-4 is damaged"):
        EpochReport.decode(pack(arrays, header), "epoch-4")


def test_an_array_that_the_header_names_and_the_file_lacks_is_damage() -> None:
    arrays, header = unpack(WHOLE, "whole")
    del arrays["images/1/figure"]
    with pytest.raises(CorruptFile, match=r"epoch-4 is damaged.*images/1/figure"):
        EpochReport.decode(pack(arrays, header), "epoch-4")


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("epoch",), 0),
        (("epoch",), 10**400),
        (("first_step",), -1),
        (("first_step",), 2**60),
        (("seeds",), []),
        (("seeds",), [1]),
        (("trial",), "../up"),
        (("time",), "noon"),
        (("diverged",), "no"),
        (("host",), {"host": ["a"]}),
        (("replicas", 0, "metrics"), {"fid": "low"}),
        (("replicas", 0, "metrics"), {"fid": None}),
        (("replicas", 0, "metrics"), [1.0]),
        (("replicas", 0, "steps"), ["nothing"]),
        (("replicas", 1, "images"), "figure"),
        (("more",), 1),
    ],
)
def test_a_header_that_is_not_as_it_must_be_is_damage(where: Any, value: Any) -> None:
    arrays, header = unpack(WHOLE, "whole")
    inner: Any = header
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value
    with pytest.raises(CorruptFile, match="epoch-4 is damaged"):
        EpochReport.decode(pack(arrays, header), "epoch-4")


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("images/1/figure", np.zeros((1, 3_000_000, 1, 1, 1), np.uint8)),  # its picture would take gigabytes
        ("images/1/figure", np.zeros((4, 4), np.uint8)),
        ("images/1/figure", np.zeros((4, 4, 3), np.float32)),
        ("images/1/figure", np.zeros((70_000, 1, 3), np.uint8)),
        ("steps/0/loss/generator", np.zeros((2, 2), np.float32)),
        ("steps/0/loss/generator", np.zeros(2)),
    ],
)
def test_arrays_that_no_report_has_are_damage(name: str, array: np.ndarray) -> None:
    arrays, header = unpack(WHOLE, "whole")
    assert name in arrays
    with pytest.raises(CorruptFile, match="epoch-4 is damaged"):
        EpochReport.decode(pack(arrays | {name: array}, header), "epoch-4")


@settings(max_examples=100)
@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=6))
def test_replicas_become_mean_spread_and_each(values: list[float]) -> None:
    seeds = list(range(10, 10 + len(values)))
    merged = merge([{"kid": value, **({"extra": 1.0} if i else {})} for i, value in enumerate(values)], seeds)
    assert merged["kid"] == pytest.approx(sum(values) / len(values), abs=1e-9)
    assert merged["kid/std"] == pytest.approx(np.std(values, ddof=1), abs=1e-9)
    assert [merged[f"kid/seed_{seed}"] for seed in seeds] == values
    assert "extra" not in merged  # not all replicas have it


@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_mean_of_what_is_not_finite_is_not_finite_and_the_order_stays() -> None:
    merged = merge([{"kid": math.nan, "b": 2.0, "a": math.inf}, {"a": 1.0, "kid": 3.0, "b": 4.0}], [7, 11])
    assert list(merged) == [f"{name}{end}" for name in ("kid", "b", "a") for end in ("", "/std", "/seed_7", "/seed_11")]
    assert math.isnan(merged["kid"]) and math.isnan(merged["kid/std"]) and merged["kid/seed_11"] == 3.0
    assert merged["a"] == math.inf and (merged["b"], merged["b/std"]) == (3.0, pytest.approx(math.sqrt(2), rel=1e-12))


def test_one_replica_has_no_spread() -> None:
    assert merge([{"kid": 1.5}], [0]) == {"kid": 1.5}
