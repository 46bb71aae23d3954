"""What a task declares, and what its losses do with networks, is of the right kind or refused by name."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import tiny_tasks
import torch
from test_first_step import LABEL, loop, with_loss
from tiny_tasks import Tiny
from torch import nn

from genlab.errors import GenlabError
from genlab.tasks import SGD, Inputs, Stream


def declaring(**methods: Any) -> type[Tiny]:
    return type("Changed", (Tiny,), {name: (lambda self, answer=answer: answer) for name, answer in methods.items()})


IMAGES = tiny_tasks.noise_images("x", 16)


@pytest.mark.parametrize(
    ("methods", "says"),
    [
        ({"streams": None}, r"streams\(\) \(.*\) returned None: it must return streams by name, as in"),
        ({"streams": [Stream(IMAGES)]}, "returned a list of 1: it must return streams by name"),
        ({"streams": {}}, r"streams\(\) \(.*\) returned none"),
        ({"streams": {"first": Stream(IMAGES.images)}}, r"holds a tensor uint8 \[16, 1, 8, 8\]: it takes an ImageSet"),  # type: ignore[arg-type]
        ({"networks": [nn.Linear]}, "returned a list of 1: it must return functions that make a network, by name"),
        ({"networks": {"classifier": 3}}, "classifier is the int 3: write a function"),
        ({"networks": {"classifier": lambda: None}}, "made None as classifier: it must be a network"),
        ({"given": [nn.Linear(1, 1)]}, r"given\(\) \(.*\) returned a list of 1: it must return networks by name"),
        ({"given": {"judge": nn.Linear}}, "judge is the class Linear: it must be a network"),
        ({"phases": LABEL}, r"phases\(\) \(.*\) returned a Phase: it must return a list"),
        ({"phases": []}, r"phases\(\) \(.*\) returned a list of 0"),
        ({"phases": [dataclasses.replace(LABEL, name=1)]}, "a phase's name is the int 1: write a text"),
        ({"phases": ["label"]}, "returned the str 'label' in its list"),
        ({"phases": [dataclasses.replace(LABEL, updates=("classifier",))]}, "the phase label updates a tuple of 1"),
        ({"phases": [dataclasses.replace(LABEL, updates={})]}, "the phase label updates a dict"),
        (
            {"phases": [dataclasses.replace(LABEL, updates={"classifier": 0.1})]},
            r"updates classifier by the float 0.1: write Adam\(...\)",
        ),
        (
            {"phases": [dataclasses.replace(LABEL, updates={"classifier": torch.optim.Adam})]},
            "updates classifier by the class Adam",
        ),
        (
            {"phases": [dataclasses.replace(LABEL, updates={"classifier": SGD(0.1, rate=lambda: 1)})]},  # type: ignore[arg-type]
            r"phases\(\) \(.*\): the phase label updates classifier by SGD\(...\), whose rate \(.*<lambda>\) cannot be",
        ),
        ({"phases": [dataclasses.replace(LABEL, loss="mse")]}, "the loss of the phase label is the str 'mse'"),
        ({"phases": [dataclasses.replace(LABEL, transform=1)]}, "the transform of the phase label is the int 1"),
        ({"phases": [dataclasses.replace(LABEL, draws={"first"})]}, "the phase label draws a set: write a tuple"),
        (
            {"phases": [dataclasses.replace(LABEL, draws=(), reuse="first")]},
            "label reuses the str 'first': write",
        ),
    ],
)
def test_what_a_task_declares_is_of_the_right_kind(methods: dict[str, Any], says: str) -> None:
    with pytest.raises(GenlabError, match=says):
        loop(declaring(**methods))


@pytest.mark.parametrize(
    ("streams", "says"),
    [
        (None, r"next_streams\(\) \(.*\) returned None: it must return streams by name"),
        ({"first": IMAGES}, "first is no Stream but an ImageSet"),
        ([Stream(IMAGES)], "returned a list of 1"),
    ],
)
def test_streams_are_replaced_by_streams(streams: Any, says: str) -> None:
    class Replacing(Tiny):
        def next_streams(self, epoch: int, networks: Any) -> Any:
            return streams

    with pytest.raises(GenlabError, match=says):
        loop(Replacing).advance(1)


# ---- what a loss has of a network


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda network: network.encode(1), r"In place of classifier.encode let forward return it"),
        (lambda network: list(network.parameters()), "In place of classifier.parameters use a setting of Adam or SGD"),
        (lambda network: network.train(), "In place of classifier.train leave it to the loop"),
        (lambda network: network.eval(), "In place of classifier.eval leave it to the loop"),
        (lambda network: network.module, "In place of classifier.module write nothing: the network is the same"),
        (lambda network: network[0], r"In place of classifier\[0\] let forward return"),
        (lambda network: len(network), "In place of classifier's length"),
        (lambda network: list(network), "In place of classifier's parts"),
        (lambda network: setattr(network, "training", False), "In place of classifier.training = ... set it where"),
        (lambda network: network.weight, "In place of classifier.weight use a setting"),
        (lambda network: network.requires_grad_(False), "only what the phase updates has gradients"),
    ],
)
def test_a_loss_calls_a_network_and_has_nothing_else_of_it(ask: Any, says: str) -> None:
    def loss(networks: Any, inputs: Inputs, config: Any) -> Any:
        assert networks["classifier"] and not hasattr(networks["classifier"], "encode")
        ask(networks["classifier"])

    with pytest.raises(GenlabError, match=f"a loss calls the network classifier as a function, .*{says}"):
        loop(with_loss(loss)).advance(1)
