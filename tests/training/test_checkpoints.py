from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genlab.errors import CorruptFile
from genlab.tasks import State
from genlab.tensorfile import metadata, read_header
from genlab.training import Checkpoint


def checkpoint() -> Checkpoint:
    tensors = {"networks/a/weight": torch.arange(12.0).view(3, 4), "optimizers/a/0/step": torch.tensor(3.0)}
    states = [State(tensors, {"step": 3}), State({name: t + 1 for name, t in tensors.items()}, {"step": 3})]
    return Checkpoint("gan", None, {"nz": 100}, {"real": {"shape": [1, 2]}}, 2, [0, 1], states, [{"loss": 0.5}] * 2)


WHOLE = checkpoint().encode()


def assert_what_went_in(back: Checkpoint) -> None:
    expected = checkpoint()
    for name in ("task", "script", "config", "data", "epoch", "seeds", "metrics"):
        assert getattr(back, name) == getattr(expected, name)
    for one, other in zip(back.states, expected.states, strict=True):
        assert one.scalars == other.scalars
        assert one.tensors.keys() == other.tensors.keys()
        for name, tensor in one.tensors.items():
            assert tensor.dtype == other.tensors[name].dtype and torch.equal(tensor, other.tensors[name])


def test_what_goes_in_comes_out() -> None:
    assert_what_went_in(Checkpoint.decode(WHOLE, "x"))


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
@settings(max_examples=1000)
def test_a_byte_that_was_altered_is_noticed_or_says_nothing(position: int, bits: int) -> None:
    """Nothing is said by the blanks that fill up the header, for one."""
    altered = bytearray(WHOLE)
    altered[position] ^= bits
    try:
        back = Checkpoint.decode(bytes(altered), "the state")
    except CorruptFile:
        return
    assert_what_went_in(back)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 3}, "of kind 'state' and format 3, not of 4"),
        ({"kind": "stale"}, "of kind 'stale' and format 4, not of 4"),
        ({"config": []}, "config"),
        ({"epoch": -1}, "epoch"),
        ({"seeds": [0, 1, 10**400]}, "seeds"),
        ({"seeds": [0]}, "index out of range"),
        ({"metrics": [{"kid": "low"}, {}]}, "metrics"),
        ({"scalars": [[], []]}, "scalars"),
        ({"task": None}, "task"),
        ({"more": 1}, "more"),
        ({"tensors_crc32": "00000000"}, "its checksum is that of other tensors"),
    ],
)
def test_a_header_that_is_not_as_it_must_be_is_refused(change: dict[str, Any], said: str) -> None:
    tensors = {f"replica_{i}/{name}": tensor for i in (0, 1) for name, tensor in checkpoint().states[i].tensors.items()}

    def written(header: dict[str, Any]) -> bytes:
        return safetensors.torch.save(tensors, metadata=metadata(header))

    assert_what_went_in(Checkpoint.decode(written(read_header(WHOLE)), "x"))
    with pytest.raises(CorruptFile, match=f"x is damaged.*{said}"):
        Checkpoint.decode(written(read_header(WHOLE) | change), "x")


@given(st.integers(0, len(WHOLE) - 1))
@settings(max_examples=200)
def test_a_cut_at_any_byte_is_noticed(length: int) -> None:
    with pytest.raises(CorruptFile, match="the state"):
        Checkpoint.decode(WHOLE[:length], "the state")


class Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.target,)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    trap = tmp_path / "executed"
    for data in (pickle.dumps(Malicious(trap)), pickle.dumps({"genlab": Malicious(trap)}, protocol=0)):
        with pytest.raises(CorruptFile):
            Checkpoint.decode(data, "the state")
    torch.save({"x": Malicious(trap)}, tmp_path / "saved.pt")
    with pytest.raises(CorruptFile):
        Checkpoint.decode((tmp_path / "saved.pt").read_bytes(), "the state")
    assert not trap.exists()
