"""`benchmarks/generative.py` compares the same: both sides train networks of the same sizes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from torch import nn

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import generative  # noqa: E402
from sides.examples import EXAMPLES  # noqa: E402

from genlab.tasks.fields import as_dict  # noqa: E402
from genlab.training import Loop  # noqa: E402

SMALL = generative.Options(width=4, units=8, batch_size=16, steps=1, rounds=1)


@pytest.mark.parametrize("name", generative.BESIDE_EXAMPLES)
def test_the_example_has_the_networks_of_the_task(name: str) -> None:
    task = generative.make(SMALL, name)
    (stream,) = task.initial_streams.values()
    settings = {**as_dict(task.config), "device": "cpu"}
    example = EXAMPLES[generative.TASKS[name][0]](settings, generative.pixels(stream.image_set), 2)
    for network, own in Loop(task).networks.items():
        assert shapes(getattr(example, network)) == shapes(own)
    assert example.train(2) > 0


def shapes(network: Any) -> list[Any]:
    assert isinstance(network, nn.Module)
    return sorted(tuple(parameter.shape) for parameter in network.parameters())


@pytest.mark.parametrize("name", generative.TASKS)
def test_every_task_has_a_speed(name: str) -> None:
    assert generative.speed(SMALL, name) > 0
