from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genlab.errors import CorruptFile
from genlab.tasks import State
from genlab.training import Checkpoint


def checkpoint() -> Checkpoint:
    tensors = {"networks/a/weight": torch.arange(12.0).view(3, 4), "optimizers/a/0/step": torch.tensor(3.0)}
    states = [State(tensors, {"step": 3}), State({name: t + 1 for name, t in tensors.items()}, {"step": 3})]
    return Checkpoint("gan", None, {"nz": 100}, {"real": {"shape": [1, 2]}}, 2, [0, 1], states, [{"loss": 0.5}] * 2)


WHOLE = checkpoint().encode()


def test_what_goes_in_comes_out() -> None:
    back = Checkpoint.decode(WHOLE, "x")
    expected = checkpoint()
    for name in ("task", "script", "config", "data", "epoch", "seeds", "metrics"):
        assert getattr(back, name) == getattr(expected, name)
    for one, other in zip(back.states, expected.states, strict=True):
        assert one.scalars == other.scalars
        assert one.tensors.keys() == other.tensors.keys()
        assert all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors)


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
