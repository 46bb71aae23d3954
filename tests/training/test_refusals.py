"""Phases, networks and streams that do not fit together are refused by name, before anything is trained."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import tiny_tasks
import torch
from tiny_tasks import Conditional, Tiny, TinyConfig
from torch import nn

from genlab.errors import GenlabError
from genlab.tasks import Adam, Context, Inputs, Phase, PhasedTask, Reuse, Stream, build
from genlab.training import Checkpoint, Loop, Trial

ADAM = Adam(0.1)
(LABEL,) = Tiny(build(TinyConfig, {}), Context()).phases()


def task(**methods: Any) -> type[PhasedTask]:
    """The tiny task with some of its methods answering something else."""
    return type("Changed", (Tiny,), {name: (lambda self, value=value: value) for name, value in methods.items()})


def small() -> nn.Module:
    return tiny_tasks.small_network()


def frozen() -> nn.Module:
    return small().requires_grad_(False)


SHARED = nn.Linear(64, 2)


def with_shared() -> nn.Module:
    return nn.Sequential(nn.Flatten(), SHARED)


@pytest.mark.parametrize(
    ("methods", "says"),
    [
        (
            {"networks": {"classifier": small, "ema": small}},
            r"networks\(\) \(.*\): no phase updates the network ema\. If it is to be trained, name it in a phase's "
            r"updates\. If not, such as an average of another network's weights, build it in given\(\)",
        ),
        ({"networks": {"classifier": frozen}}, "classifier has no parameter to train"),
        ({"given": {"classifier": small()}}, "both name classifier"),
        (
            {"networks": {"classifier": with_shared}, "given": {"teacher": SHARED}},
            "classifier and teacher have a param",
        ),
        ({"phases": [dataclasses.replace(LABEL, updates={"classifer": ADAM})]}, "updates classifer"),
        (
            {"phases": [dataclasses.replace(LABEL, updates={"teacher": ADAM})], "given": {"teacher": small()}},
            "updates teach",
        ),
        ({"phases": [dataclasses.replace(LABEL, draws=("first", "latent"))]}, "phase label draws latent"),
        ({"phases": [LABEL, LABEL]}, "two phases are named label"),
        ({"phases": [dataclasses.replace(LABEL, draws="first")]}, "draws the str 'first': write a tuple"),
        ({"networks": {"classifier": small()}}, "classifier is a network: write a function"),
        ({"streams": {"first": tiny_tasks.noise_images("x", 8)}}, "first is no Stream but an ImageSet"),
        ({"phases": [dataclasses.replace(LABEL, repeats=0)]}, "the phase label has 0 repeats"),
        ({"phases": [dataclasses.replace(LABEL, name="a/b")]}, "'a/b' cannot name"),
        ({"streams": {"a/b": Stream(tiny_tasks.noise_images("x", 8))}}, "'a/b' cannot name"),
        ({"networks": {"a/b": small}}, "'a/b' cannot name"),
        ({"given": {"a/b": small()}}, "'a/b' cannot name"),
        ({"phases": [dataclasses.replace(LABEL, draws=(), reuse=Reuse("first", dict))]}, "reuses inputs of 'first'"),
        (
            {
                "networks": {"classifier": with_shared, "other": with_shared},
                "phases": [dataclasses.replace(LABEL, updates={"classifier": ADAM, "other": ADAM})],
            },
            "classifier and other have a parameter in common",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(methods: dict[str, Any], says: str) -> None:
    with pytest.raises(GenlabError, match=says):
        Loop(task(**methods)(build(TinyConfig, {}), Context()))


@pytest.mark.parametrize(
    ("reuse", "changes"), [(Reuse("generator", dict), {}), (Reuse("discriminator", dict), {"repeats": 2})]
)
def test_reuse_is_of_an_earlier_phase_and_has_one_repetition(reuse: Reuse, changes: dict[str, Any]) -> None:
    class Sharing(Conditional):
        def phases(self) -> list[Phase]:
            first, second = super().phases()
            return [first, dataclasses.replace(second, draws=(), reuse=reuse, **changes)]

    with pytest.raises(GenlabError, match="the phase generator reuses inputs"):
        Loop(Sharing(build(TinyConfig, {}), Context()))


def test_one_phase_may_reuse_the_inputs_of_another() -> None:
    class Twice(Conditional):
        def phases(self) -> list[Phase]:
            first, second = super().phases()
            again = dataclasses.replace(second, draws=(), reuse=Reuse("discriminator", lambda networks, inputs: {}))
            return [first, again, dataclasses.replace(again, name="third")]

    with pytest.raises(GenlabError, match="two phases reuse the inputs of discriminator"):
        Loop(Twice(build(TinyConfig, {}), Context()))


def test_an_evaluation_returns_a_report() -> None:
    loop = Loop(task(evaluate={})(build(TinyConfig, {}), Context()))
    loop.task.evaluate = lambda networks, split, epoch: {"accuracy": 1.0}  # type: ignore[assignment,method-assign,return-value]
    with pytest.raises(
        GenlabError, match=r"evaluate\(\) \(.*test_refusals.py:\d+ .*\) returned a dict: it must return a Report"
    ):
        loop.advance(1)


def test_what_a_phase_does_not_draw_is_named() -> None:
    with pytest.raises(GenlabError, match="the inputs have no 'lable': the phase draws first, label"):
        Inputs({"first": 1, "label": 2}, torch.tensor(0.0))["lable"]


@pytest.mark.parametrize(
    ("streams", "says"),
    [
        (
            {"second": Stream(tiny_tasks.noise_images("x", 8))},
            r"next_streams\(\) names second: streams\(\) names first",
        ),
        (
            {"first": Stream(tiny_tasks.noise_images("x", 8))},
            r"images of first come from no set that streams\(\) returned",
        ),
    ],
)
def test_streams_that_no_state_could_keep_are_refused(streams: dict[str, Stream], says: str) -> None:
    class Replacing(Tiny):
        def next_streams(self, epoch: int, networks: Any) -> dict[str, Stream]:
            return streams

    with pytest.raises(GenlabError, match=says):
        Loop(Replacing(build(TinyConfig, {}), Context())).advance(1)


def test_tied_weights_within_a_network_survive_a_checkpoint() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(64, 64), nn.Linear(64, 64)
            self.two.weight = self.one.weight
            self.head = nn.Linear(64, 2)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.head(self.two(self.one(images.flatten(1)).tanh()))

    kind = task(networks={"classifier": Tied})
    trial, again = (Trial(kind, build(TinyConfig, {}), Context()) for _ in range(2))
    trial.advance()
    again.load(Checkpoint.decode(trial.checkpoint().encode(), "state"))
    for one in (trial, again):
        one.advance()
    first, second = (one.replicas[0].networks["classifier"] for one in (trial, again))  # type: ignore[attr-defined]
    assert second.two.weight is second.one.weight
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
