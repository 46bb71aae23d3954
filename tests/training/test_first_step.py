"""What a task's functions return is checked in a replica's first step: which phase, what came, what is wanted."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tiny_tasks
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from tiny_tasks import Conditional, Tiny, TinyConfig
from torch import Tensor, nn

from genlab.errors import GenlabError, place
from genlab.tasks import Adam, Context, Inputs, Phase, PhasedTask, Reuse, build
from genlab.training import Checkpoint, Loop, Trial

ADAM = Adam(0.1)
(LABEL,) = Tiny(build(TinyConfig, {}), Context()).phases()


def loop(kind: type[PhasedTask], context: Context | None = None, **settings: Any) -> Loop:
    return Loop(kind(build(TinyConfig, {"epoch_steps": 2, **settings}), context or Context()))


def with_loss(loss: Callable[..., Any], **parts: Any) -> type[Tiny]:
    """The tiny task with another loss; `parts` are of its phase."""

    class Task(Tiny):
        def phases(self) -> list[Phase]:
            return [dataclasses.replace(LABEL, loss=loss, **parts)]

    return Task


def value(networks: Any, inputs: Inputs, config: Any) -> Tensor:
    return tiny_tasks.label_loss(networks, inputs, config)[0]


class Branches(nn.Module):
    """Two heads, of which a loss may use one."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.used, self.idle = nn.Linear(64, 4), nn.Linear(4, 2), nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.used(self.body(images.flatten(1)))

    def encode(self, images: Tensor) -> Tensor:
        return self.body(images.flatten(1))


class Unused(Tiny):
    """Its network has a head that its loss leaves out."""

    def networks(self) -> Any:
        return {"classifier": Branches}


class Frozen(Tiny):
    """The same, but that head is not to be trained."""

    def networks(self) -> Any:
        def build() -> nn.Module:
            network = Branches()
            network.idle.requires_grad_(False)
            return network

        return {"classifier": build}


class LeftOut(Tiny):
    """One phase trains two networks, and its loss calls one of them."""

    def networks(self) -> Any:
        return {"classifier": tiny_tasks.small_network, "domain": partial(nn.Linear, 64, 1)}

    def phases(self) -> list[Phase]:
        return [dataclasses.replace(LABEL, updates={"classifier": ADAM, "domain": ADAM})]


class Peeking(Unused):
    """A loss that wants more of a network than its forward."""

    def phases(self) -> list[Phase]:
        def loss(networks: Any, inputs: Inputs, config: Any) -> Any:
            return networks["classifier"].encode(inputs["first"].images).mean(), {}

        return [dataclasses.replace(LABEL, loss=loss)]


REFUSED = {
    LeftOut: r"phase label updates the network domain, but its loss \(.*tiny_tasks.py:\d+ label_loss\) gives it no",
    Unused: r"but its loss \(.*\) gives no gradient to its idle.weight, idle.bias: .*requires_grad_\(False\)",
    Peeking: r"In place of classifier.encode let forward return it .*, or take an argument: networks\['class",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_a_loss_leaves_out_is_refused_in_the_first_step(kind: type[PhasedTask]) -> None:
    one = loop(kind)
    before = [parameter.clone() for network in one.networks.values() for parameter in network.parameters()]
    with pytest.raises(GenlabError, match=REFUSED[kind]):
        one.advance(1)
    after = [parameter for network in one.networks.values() for parameter in network.parameters()]
    assert all(map(torch.equal, before, after))  # nothing was trained


def on_two(rank: int, folder: str) -> None:
    store = dist.FileStore(os.path.join(folder, "store"), 2)  # type: ignore[attr-defined]
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    said = {}
    for kind in (*REFUSED, Frozen, Conditional, tiny_tasks.TwoDomains):
        try:
            loop(kind, Context(rank, 2)).advance(1)
            said[kind.__name__] = ""
        except Exception as error:
            said[kind.__name__] = f"{isinstance(error, GenlabError)} {error}"
    torch.save(said, os.path.join(folder, f"{rank}.pt"))
    dist.barrier()
    dist.destroy_process_group()


def test_two_workers_hear_what_one_does(tmp_path: Path) -> None:
    mp.spawn(on_two, (str(tmp_path),), nprocs=2)  # type: ignore[attr-defined]
    for rank in range(2):
        said = torch.load(tmp_path / f"{rank}.pt")
        for kind in REFUSED:
            with pytest.raises(GenlabError) as alone:
                loop(kind).advance(1)
            assert said.pop(kind.__name__) == f"True {alone.value}"
        assert set(said.values()) == {""}


def test_what_is_frozen_needs_no_gradient() -> None:
    assert not loop(Frozen).advance(1).diverged


def test_a_network_that_one_of_its_phases_leaves_out_is_refused_there() -> None:
    class Second(Conditional):
        def phases(self) -> list[Phase]:
            first, second = super().phases()

            def loss(networks: Any, inputs: Inputs, config: Any) -> Any:
                fake, _ = tiny_tasks.conditional_fake(networks, inputs)
                return networks["discriminator"](torch.zeros(len(fake), 66)).mean(), {}

            return [first, dataclasses.replace(second, updates={"generator": ADAM, "discriminator": ADAM}, loss=loss)]

    with pytest.raises(GenlabError, match="the phase generator updates the network generator"):
        loop(Second).advance(1)


class Reusing(Conditional):
    """The generator's phase reuses what the discriminator's repetitions drew."""

    compute: Any = staticmethod(lambda networks, inputs: {"fake": tiny_tasks.conditional_fake(networks, inputs)[0]})
    detached = False

    def phases(self) -> list[Phase]:
        first, second = super().phases()

        def loss(networks: Any, inputs: Inputs, config: Any) -> Any:
            fake = inputs["fake"].detach() if self.detached else inputs["fake"]
            return networks["discriminator"](torch.cat((fake, torch.eye(2)[inputs["label"]]), 1)).mean(), {}

        reuse = Reuse("discriminator", self.compute)
        return [first, dataclasses.replace(second, draws=(), loss=loss, reuse=reuse)]


def test_what_is_reused_trains_only_with_a_gradient() -> None:
    assert not loop(Reusing).advance(1).diverged
    detached = type("Detached", (Reusing,), {"detached": True})
    with pytest.raises(GenlabError, match=r"phase generator .* returned a loss without a gradient: it does"):
        loop(detached).advance(1)


@pytest.mark.parametrize(
    ("computed", "says"),
    [
        (torch.zeros(3), r"compute\(\) of the Reuse of the phase generator \(.*\) returned a tensor float32 \[3\]"),
        ({"fake": [1, 2]}, "returned a list of 2 as 'fake': it must return tensors by name"),
    ],
)
def test_what_is_computed_for_two_phases_is_tensors_by_name(computed: Any, says: str) -> None:
    kind = type("Wrong", (Reusing,), {"compute": staticmethod(lambda networks, inputs: computed)})
    with pytest.raises(GenlabError, match=says):
        loop(kind).advance(1)


@pytest.mark.parametrize(
    ("returns", "says"),
    [
        (
            lambda loss: loss,
            r"returned a tensor float32 \[\]: it must return the loss and its .*`return loss, {}`",
        ),
        (lambda loss: None, "returned None"),
        (lambda loss: (loss, {}, {}), "returned a tuple of 3"),
        (lambda loss: (loss * torch.ones(8), {}), r"tensor float32 \[8\] as the loss: .* 0-d tensor.*say .mean\(\)"),
        (lambda loss: (loss.item(), {}), "returned the float .* as the loss: it must be a 0-d tensor"),
        (lambda loss: (loss.detach(), {}), "a loss without a gradient: it does not depend on classifier, or detach"),
        (lambda loss: (loss, None), "returned None as the scores: they must be 0-d tensors by name, {} for none"),
        (lambda loss: (loss, [loss]), "returned a list of 1 as the scores"),
        (lambda loss: (loss, {"kl": 0.5}), "returned the float 0.5 as the score 'kl': it must be a 0-d tensor, which"),
        (lambda loss: (loss, {"kl": torch.ones(8)}), r"\[8\] as the score 'kl': it must be a 0-d tensor, say .mean"),
        (lambda loss: (loss, {"kl": loss.detach().to("meta")}), "the score 'kl' on meta, while the loss is on cpu"),
        (lambda loss: (loss, {"kl (nats)": loss}), r"'kl \(nats\)': MLflow takes .*: call it 'kl _nats_'"),
        (lambda loss: (loss, {3: loss}), "something by the int 3: its name must be a text"),
        (lambda loss: (loss, {"kl//x": loss}), "call it 'kl/x'"),
        (lambda loss: (loss, {"k" * 201: loss}), "200 characters at most"),
    ],
)
def test_a_loss_returns_a_number_with_a_gradient_and_scores_by_name(returns: Any, says: str) -> None:
    def own_loss(networks: Any, inputs: Inputs, config: Any) -> Any:
        return returns(value(networks, inputs, config))

    begins = r"the loss of the phase label \(.*test_first_step.py:\d+ .*own_loss\) re(turned|ports) "
    with pytest.raises(GenlabError, match=says) as caught:
        loop(with_loss(own_loss)).advance(1)
    assert re.match(begins, str(caught.value))


def test_names_scores_and_metrics_may_have() -> None:
    def loss(networks: Any, inputs: Inputs, config: Any) -> Any:
        found = value(networks, inputs, config)
        return found, {"score/kl: a-b_c 0.5": found.double().detach(), "k" * 200: (found > 0)}

    assert loop(with_loss(loss)).advance(1).metrics["k" * 200] == 1.0


def test_a_phase_is_named_so_that_its_loss_can_be_reported() -> None:
    with pytest.raises(GenlabError, match="the phase label #1 reports 'loss/label #1': MLflow takes"):
        loop(with_loss(tiny_tasks.label_loss, name="label #1")).advance(1)


@pytest.mark.parametrize(
    ("transformed", "says"),
    [(None, "returned None: it must return inputs"), ({"first": 1}, "returned a dict: it must return inputs")],
)
def test_a_transform_returns_inputs(transformed: Any, says: str) -> None:
    kind = with_loss(tiny_tasks.label_loss, transform=lambda networks, inputs, config: transformed)
    with pytest.raises(GenlabError, match=rf"the transform of the phase label \(.*\) {says}"):
        loop(kind).advance(1)


@pytest.mark.parametrize(
    ("drawn", "says"),
    [
        (None, "returned, for 8 of 'noise', None: it must return a tensor"),
        (torch.zeros(7, 2), r"a tensor float32 \[7, 2\]: it must return a tensor \[8, ...\], a row a sample"),
        (torch.zeros(()), r"a tensor float32 \[\]"),
        ([0.0] * 8, "a list of 8"),
        (torch.zeros(8, 2, device="meta"), "a tensor on meta: make it with device=generator.device"),
    ],
)
def test_samples_are_a_row_each(drawn: Any, says: str) -> None:
    class Drawing(Tiny):
        def sample(self, name: str, count: int, generator: torch.Generator) -> Any:
            return drawn

        def phases(self) -> list[Phase]:
            return [dataclasses.replace(LABEL, draws=("first", "noise"))]

    with pytest.raises(GenlabError, match=rf"sample\(\) \(.*test_first_step.py:\d+ .*Drawing.sample\) .*{says}"):
        loop(Drawing).advance(1)


def test_the_same_mistake_in_two_trials_is_one_place() -> None:
    """Whatever the numbers in it are: the sweep groups what failed by place."""
    places = set()
    for number in (0.25, 0.5):
        with pytest.raises(GenlabError) as caught:
            loop(with_loss(lambda networks, inputs, config, number=number: (number, {}))).advance(1)
        assert f"the float {number}" in str(caught.value)
        places.add(place(str(caught.value)))  # as `told` gives it where no frame is the author's
    (same,) = places
    assert re.fullmatch(r"the loss of the phase label \(.*test_first_step.py:\d+ .*<lambda>\)", same)


# ---- names that there are not


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda task, networks, inputs: networks["clasifier"], "no network 'clasifier': did you mean classifier?"),
        (lambda task, networks, inputs: inputs["frist"], "no 'frist': the phase draws first"),
        (lambda task, networks, inputs: task.data["frist"], "no stream 'frist': did you mean first?"),
        (lambda task, networks, inputs: task.initial_streams["x"], "no stream 'x': valid names: first"),
        (lambda task, networks, inputs: task.context.prepared["juge"], "prepared as 'juge': did you mean judge?"),
    ],
)
@pytest.mark.parametrize("where", ["loss", "transform", "evaluate", "next_streams"])
def test_a_name_that_is_not_there_is_refused_with_those_that_are(ask: Any, says: str, where: str) -> None:
    def asked(task: Any, networks: Any) -> None:
        ask(task, networks, Inputs({"first": None}, torch.tensor(0.0)))

    class Asking(Tiny):
        def phases(self) -> list[Phase]:
            def loss(networks: Any, inputs: Inputs, config: Any) -> Any:
                if where == "loss":
                    asked(self, networks)
                return tiny_tasks.label_loss(networks, inputs, config)

            def transform(networks: Any, inputs: Inputs, config: Any) -> Inputs:
                if where == "transform":
                    asked(self, networks)
                return inputs

            return [dataclasses.replace(LABEL, loss=loss, transform=transform)]

        def evaluate(self, networks: Any, split: str, epoch: int) -> Any:
            if where == "evaluate":
                asked(self, networks)
            return super().evaluate(networks, split, epoch)

        def next_streams(self, epoch: int, networks: Any) -> Any:
            asked(self, networks)

    with pytest.raises(GenlabError, match=says):
        loop(Asking, Context(prepared={"judge": None})).advance(1)  # type: ignore[dict-item]


def test_what_is_by_name_is_a_mapping_all_the_same() -> None:
    seen: list[Any] = []

    def loss(networks: Any, inputs: Inputs, config: Any) -> Any:
        seen.extend([set(networks), "other" in networks, networks.get("other"), {**networks}.keys()])
        return tiny_tasks.label_loss(networks, inputs, config)

    loop(with_loss(loss)).advance(1)
    assert seen[:4] == [{"classifier"}, False, None, {"classifier": 1}.keys()]
    with pytest.raises(GenlabError, match="nothing prepared as 'judge': there is none at all"):
        Context().prepared["judge"]


# ---- when it is checked


def test_only_the_first_step_is_checked_and_that_of_a_resumed_replica_again() -> None:
    steps: list[int] = []
    from_step = [2]

    def loss(networks: Any, inputs: Inputs, config: Any) -> Any:
        steps.append(1)
        found = value(networks, inputs, config)
        return found, {"score": found.detach()[None] if len(steps) >= from_step[0] else found.detach()}

    kind = with_loss(loss)
    trial = Trial(kind, build(TinyConfig, {"epoch_steps": 1}), Context())
    trial.advance()
    state = Checkpoint.decode(trial.checkpoint().encode(), "state")
    again = Trial(kind, build(TinyConfig, {"epoch_steps": 1}), Context())
    again.load(state)
    with pytest.raises(GenlabError, match="score 'score'"):
        again.advance()


def test_later_steps_are_not_slowed(monkeypatch: pytest.MonkeyPatch) -> None:
    from genlab.training import contract

    called: list[str] = []
    for name in [name for name in vars(contract) if name.startswith("check_")]:
        original = getattr(contract, name)
        monkeypatch.setattr(
            contract, name, lambda *a, original=original, name=name: (called.append(name), original(*a))[1]
        )
    one = loop(Reusing, epoch_steps=3)
    one.advance(1)
    assert set(called) == {"check_loss", "check_gradients", "check_sample", "check_computed"}
    assert called.count("check_loss") == 3  # two repetitions and the generator's
    called.clear()
    one.advance(2)
    assert not called
