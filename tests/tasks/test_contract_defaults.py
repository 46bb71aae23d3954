"""What a task has where its author said nothing, and what a loss finds in its inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tiny_tasks import Tiny, TinyConfig

from genlab.errors import GenlabError
from genlab.tasks import Adam, Context, Inputs, Phase, Pictures, Replica, Report, State, Stream, Task, build


class Plain(Replica):
    """Only what it must have."""

    def advance(self, epoch: int) -> Report:
        return Report()

    def save(self) -> State:
        return State({}, {})

    def load(self, state: State) -> None: ...


def test_what_is_not_said_is_nothing() -> None:
    """Each report has mappings of its own: what one epoch puts in is not in the next one's."""
    one, other = Report(), Report()
    one.metrics["loss"], one.images["x"], one.steps["loss"] = 1.0, np.zeros((1, 1, 1)), np.zeros(1)
    assert (other.metrics, other.images, other.steps, other.first_step, other.diverged) == ({}, {}, {}, 0, False)
    assert Plain().evaluate("test") == Report()
    assert Task(None, None).data == {}  # type: ignore[arg-type]
    pictures = Pictures(np.zeros((1, 1, 2, 2, 1), np.uint8))
    assert (pictures.rows, pictures.columns) == ((), ())
    phase = Phase("label", {"classifier": Adam(0.1)}, lambda networks, inputs, config: None)  # type: ignore[arg-type]
    assert (phase.draws, phase.repeats, phase.transform, phase.reuse) == ((), 1, None, None)
    images: Any = None
    assert Stream(images).augment == "none"


def test_inputs_are_by_name_and_changed_only_in_a_copy() -> None:
    inputs = Inputs({"real": 1, "latent": 2}, torch.tensor(0.5))
    assert inputs["real"] == 1 and "latent" in inputs and "fake" not in inputs
    changed = inputs.replace(latent=3, fake=4)
    assert dict(changed.values) == {"real": 1, "latent": 3, "fake": 4} and changed.progress is inputs.progress
    assert dict(inputs.values) == {"real": 1, "latent": 2}
    with pytest.raises(GenlabError, match=r"^the inputs have no 'fake': the phase draws real, latent$"):
        inputs["fake"]
    with pytest.raises(GenlabError, match=r"the phase draws nothing$"):
        Inputs({}, inputs.progress)["fake"]


def test_what_a_phase_draws_and_nothing_makes_is_named() -> None:
    task = Tiny(build(TinyConfig, {}), Context())
    with pytest.raises(TypeError, match=r"^Tiny draws 'noise', but its sample\(\) makes none$"):
        task.sample("noise", 3, torch.Generator())


def test_a_task_without_streams_has_no_epoch() -> None:
    class Streamless(Tiny):
        def streams(self) -> dict[str, Stream]:
            return {}

    says = r"^streams\(\) \(.*Streamless.streams\) returned none: an epoch is a pass over the first of them$"
    with pytest.raises(GenlabError, match=says):
        _ = Streamless(build(TinyConfig, {}), Context()).initial_streams
