"""A step and an epoch of the loop against what the contract says of them."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pytest
import tiny_tasks
import torch
from tiny_tasks import Attacked, Conditional, PseudoLabels, Tiny, TinyConfig, TwoDomains
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from genlab.errors import GenlabError
from genlab.tasks import SGD, Adam, Context, GANConfig, Inputs, Phase, PhasedTask, Report, Reuse, Stream, build
from genlab.tasks.gan import GAN
from genlab.training import Loop

SMALL: dict[str, Any] = {
    "ngf": 4,
    "ndf": 4,
    "nz": 8,
    "batch_size": 16,
    "epoch_steps": 3,
    "lr_generator": 1e-3,
    "lr_discriminator": 1e-3,
}


class Unjudged(GAN):
    """A GAN whose evaluation needs no judge."""

    def given(self) -> Mapping[str, nn.Module]:
        return {}

    def evaluate(self, networks: Any, split: str, epoch: int) -> Report:
        return Report({"kid": 0.0})


def gan(context: Context | None = None, **settings: Any) -> Loop:
    return Loop(Unjudged(build(GANConfig, SMALL | settings), context or Context()))


def tiny(kind: type[PhasedTask] = Tiny, **settings: Any) -> Loop:
    return Loop(kind(build(TinyConfig, settings), Context()))


def weights(loop: Loop) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in loop.save().tensors.items()}


def watch_phases(loop: Loop, see: Callable[[str, Any, Inputs], None]) -> None:
    """Call `see(phase, networks, inputs)` whenever a loss is computed."""
    for i, phase in enumerate(loop.phases):

        def loss(networks: Any, inputs: Inputs, config: Any, phase: Phase = phase) -> Any:
            see(phase.name, networks, inputs)
            return phase.loss(networks, inputs, config)

        loop.phases[i] = dataclasses.replace(phase, loss=loss)


# ---- what learns


def test_only_the_networks_of_a_phase_learn_in_it() -> None:
    one = gan(discriminator_steps=2)
    seen: list[str] = []

    def see(phase: str, networks: Any, inputs: Inputs) -> None:
        on = {n for n, own in one.parameters.items() if all(p.requires_grad for p in own)}
        off = {n for n, own in one.parameters.items() if not any(p.requires_grad for p in own)}
        assert on == {phase} and off == {"generator", "discriminator"} - {phase}
        seen.append(phase)

    watch_phases(one, see)
    before = weights(one)
    one.advance(1)
    assert seen == ["discriminator", "discriminator", "generator"] * 3
    changed = {
        name for name, tensor in weights(one).items() if name in before and not torch.equal(tensor, before[name])
    }
    assert {f"networks/{n}/{k}" for n, own in one.networks.items() for k, _ in own.named_parameters()} <= changed


def test_the_config_reaches_the_optimizers() -> None:
    settings = {"lr_generator": 3e-4, "lr_discriminator": 7e-4, "beta1": 0.25, "beta2": 0.875}
    one = gan(**settings, epoch_steps=1, init="default")
    gradients: dict[str, list[Tensor]] = {}
    for name, (updater,) in ((n, u.values()) for n, u in one.updaters.items()):
        step = updater.optimizer.step

        def spy(name: str = name, step: Any = step) -> Any:
            gradients[name] = [p.grad.clone() for p in one.parameters[name] if p.grad is not None]
            return step()

        updater.optimizer.step = spy
    before = {name: [p.detach().clone() for p in own] for name, own in one.parameters.items()}
    one.advance(1)
    for name, lr in (("generator", 3e-4), ("discriminator", 7e-4)):
        saved = one.updaters[name][name].save()
        for i, gradient in enumerate(gradients[name]):
            torch.testing.assert_close(saved[f"{i}/exp_avg"], 0.75 * gradient, rtol=1e-5, atol=0)
            torch.testing.assert_close(saved[f"{i}/exp_avg_sq"], 0.125 * gradient.square(), rtol=1e-5, atol=0)
            # the first step of Adam moves each weight by the learning rate against the sign of its gradient
            moved = before[name][i] - one.parameters[name][i].detach()
            large = gradient.abs() > 1e-6
            torch.testing.assert_close(moved[large], lr * gradient.sign()[large], rtol=2e-2, atol=0)


class Quadratic(Tiny):
    """One weight w, whose loss w²/2 has the gradient w, so that every step is known."""

    def networks(self) -> Mapping[str, Callable[[], nn.Module]]:
        def one() -> nn.Module:
            linear = nn.Linear(1, 1, bias=False)
            nn.init.ones_(linear.weight)
            return linear

        return {"classifier": one}

    def phases(self) -> list[Phase]:
        def loss(networks: Any, inputs: Inputs, config: Any) -> Any:
            return networks["classifier"](torch.ones(1, 1)).square().sum() / 2, {}

        return [Phase("label", {"classifier": self.optimizer}, loss, ("first",))]

    def evaluate(self, networks: Any, split: str, epoch: int) -> Report:
        return Report({"weight": float(networks["classifier"].weight)})


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_with_momentum_weight_decay_and_a_rate(nesterov: bool) -> None:
    class Task(Quadratic):
        optimizer = SGD(0.1, momentum=0.5, weight_decay=0.25, nesterov=nesterov, rate=lambda p: 1 - p)

    one = tiny(Task, epoch_steps=2, epochs=3)
    weight = velocity = 0.0
    weight = 1.0
    for epoch in (1, 2, 3):
        for i in (0, 1):
            gradient = weight + 0.25 * weight
            velocity = 0.5 * velocity + gradient
            rate = 0.1 * (1 - (2 * (epoch - 1) + i) / 6)
            weight -= rate * (gradient + 0.5 * velocity if nesterov else velocity)
        assert one.advance(epoch).metrics["weight"] == pytest.approx(weight, rel=1e-5)


def test_weight_decay_and_rate_of_adam() -> None:
    class Task(Quadratic):
        optimizer = Adam(0.1, beta1=0.0, beta2=0.0, weight_decay=0.5, rate=lambda p: 0.5)

    # with both β at 0 a step is lr · rate · sign(gradient)
    assert tiny(Task, epoch_steps=2).advance(1).metrics["weight"] == pytest.approx(1 - 2 * 0.05, rel=1e-5)


def test_progress_goes_from_0_to_1_over_all_epochs() -> None:
    one = tiny(epochs=3, epoch_steps=4)
    seen: list[Tensor] = []
    watch_phases(one, lambda phase, networks, inputs: seen.append(inputs.progress))
    for epoch in (1, 2, 3):
        one.advance(epoch)
    assert all(p.ndim == 0 and p.dtype == torch.float32 for p in seen)
    assert [float(p) for p in seen] == pytest.approx([i / 12 for i in range(12)])


def test_first_weights_follow_from_the_seed_and_a_networks_own_name() -> None:
    """Ablations at one seed are paired: another generator leaves the discriminator as it was."""
    wide, narrow, other = gan(ngf=8), gan(ngf=4), gan(seed=1)
    for name, weight in wide.networks["discriminator"].state_dict().items():
        assert torch.equal(weight, narrow.networks["discriminator"].state_dict()[name])
        if weight.ndim == 4:
            assert not torch.equal(weight, other.networks["discriminator"].state_dict()[name])

    class Twins(Tiny):
        def networks(self) -> Mapping[str, Callable[[], nn.Module]]:
            return {"classifier": small, "other": small}

        def phases(self) -> list[Phase]:
            return [dataclasses.replace(super().phases()[0], updates={"classifier": Adam(0.1), "other": Adam(0.1)})]

    class Reversed(Twins):
        def networks(self) -> Mapping[str, Callable[[], nn.Module]]:
            return dict(reversed(super().networks().items()))

    small = tiny_tasks.small_network
    networks, other_order, alone = tiny(Twins).networks, tiny(Reversed).networks, tiny().networks
    assert not torch.equal(networks["classifier"][0].weight, networks["other"][0].weight)  # type: ignore[index]
    for others in (other_order, alone):
        assert torch.equal(networks["classifier"][0].weight, others["classifier"][0].weight)  # type: ignore[index]


# ---- what is drawn


def test_every_repetition_draws_afresh() -> None:
    one = gan(discriminator_steps=2, epoch_steps=2)
    latents: list[Tensor] = []
    batches: list[Tensor] = []

    def see(phase: str, networks: Any, inputs: Inputs) -> None:
        latents.append(inputs["latent"])
        if "real" in inputs:
            batches.append(inputs["real"].images)

    watch_phases(one, see)
    for epoch in (1, 2):
        one.advance(epoch)
    assert len(latents) == 12 and len(batches) == 8
    assert not any(torch.equal(latents[i], latents[j]) for i in range(12) for j in range(i))
    assert not any(torch.equal(batches[i], batches[j]) for i in range(8) for j in range(i))


def test_phases_that_draw_one_stream_share_a_pass() -> None:
    """Two updates of one phase and one of another: three batches a step, and no image twice in a pass."""

    class Both(Tiny):
        def phases(self) -> list[Phase]:
            (first,) = super().phases()
            return [dataclasses.replace(first, repeats=2), dataclasses.replace(first, name="second")]

    one = tiny(Both)
    seen: list[tuple[float, ...]] = []
    watch_phases(one, lambda phase, n, inputs: seen.extend(tuple(i) for i in inputs["first"].images[:, 0, 0].tolist()))
    assert one.steps_per_epoch == 2
    one.advance(1)
    assert len(seen) == 48 == len(set(seen))


def test_a_seed_has_its_own_order_of_images_and_its_own_samples() -> None:
    orders = [tiny(seed=seed).batches["first"].batch(0).images for seed in (0, 1, 0)]
    assert torch.equal(orders[0], orders[2]) and not torch.equal(orders[0], orders[1])
    latents: list[Tensor] = []
    for seed in (0, 1, 0):
        one = gan(seed=seed, epoch_steps=1)
        watch_phases(one, lambda phase, n, inputs: latents.append(inputs["latent"]) if phase == "generator" else None)
        one.advance(1)
    assert torch.equal(latents[0], latents[2]) and not torch.equal(latents[0], latents[1])


def test_dropout_is_drawn_afresh_in_every_step_and_epoch() -> None:
    dropped: list[Tensor] = []

    class Dropping(nn.Linear):
        def forward(self, images: Tensor) -> Tensor:
            if self.training:
                dropped.append(nn.functional.dropout(torch.ones(64)))
            return super().forward(images.flatten(1))

    class Task(Tiny):
        def networks(self) -> Mapping[str, Callable[[], nn.Module]]:
            return {"classifier": lambda: Dropping(64, 2)}

    one = tiny(Task, epoch_steps=2)
    for epoch in (1, 2):
        one.advance(epoch)
    assert len({tuple(each.tolist()) for each in dropped}) == 4


def test_samples_are_as_many_as_the_images_of_the_first_stream() -> None:
    """At the start, and when fewer images take its place."""

    class Few(Conditional):
        def streams(self) -> Mapping[str, Stream]:
            return {"first": Stream(tiny_tasks.noise_images("few", 7))}

        def next_streams(self, epoch: int, networks: Any) -> Mapping[str, Stream]:
            assert not networks["generator"].training and not torch.is_grad_enabled()
            return {"first": Stream(self.initial_streams["first"].image_set.subset(torch.arange(5)))}

    one = tiny(Few, epoch_steps=1)
    seen: list[tuple[int, ...]] = []
    watch_phases(one, lambda p, n, inputs: seen.append(tuple(len(inputs[each]) for each in ("latent", "label"))))
    for epoch in (1, 2):
        one.advance(epoch)
    assert seen == [(7, 7)] * 3 + [(5, 5)] * 3


def test_streams_of_one_size_are_shuffled_each_in_its_own_order() -> None:
    class Pair(TwoDomains):
        def streams(self) -> Mapping[str, Stream]:
            images = tiny_tasks.noise_images("first", 48)
            return {"first": Stream(images), "second": Stream(images)}

    same: list[bool] = []
    one = tiny(Pair, epoch_steps=3)
    watch_phases(one, lambda phase, n, inputs: same.append(torch.equal(inputs["first"][0], inputs["second"][0])))
    one.advance(1)
    assert same == [False] * 3


def test_what_is_sampled_is_asked_for_by_name_and_is_the_same_whatever_else_is_drawn() -> None:
    asked: list[tuple[str, int]] = []

    class Spied(Conditional):
        def sample(self, name: str, count: int, generator: torch.Generator) -> Tensor:
            asked.append((name, count))
            return super().sample(name, count, generator)

    class Alone(Conditional):
        """Its discriminator draws other things, and its generator the same."""

        def phases(self) -> list[Phase]:
            first, second = super().phases()
            return [dataclasses.replace(first, repeats=1), second]

    seen: list[list[Inputs]] = [[], []]
    for i, kind in enumerate((Spied, Alone)):
        one = tiny(kind, epoch_steps=2)
        watch_phases(one, lambda phase, n, inputs, i=i: seen[i].append(inputs) if phase == "generator" else None)
        one.advance(1)
    assert asked[:6] == [("latent", 8), ("label", 8)] * 3
    assert seen[0][0]["label"].dtype == torch.int64 and seen[0][0]["latent"].shape == (8, 6)
    for one, other in zip(*seen, strict=True):
        assert torch.equal(one["latent"], other["latent"]) and torch.equal(one["label"], other["label"])


def test_a_pass_that_epochs_cut_in_two_goes_on() -> None:
    """Four epochs of 3 steps draw what two of 6 do: shuffling goes by pass (of 9 steps), whatever an epoch is."""
    seen: list[list[float]] = [[], []]
    for i, (steps, epochs) in enumerate(((3, 4), (6, 2))):
        one = gan(batch_size=128, epoch_steps=steps)
        watch_phases(
            one,
            lambda phase, n, inputs, i=i: (
                seen[i].append(float(inputs["real"].images.sum())) if "real" in inputs else None
            ),
        )
        for epoch in range(1, epochs + 1):
            one.advance(epoch)
    assert len(seen[0]) == 12 and seen[0] == seen[1]


def test_an_epoch_is_a_pass_over_the_first_stream() -> None:
    assert tiny(TwoDomains).steps_per_epoch == 6  # 48 images, 8 a step
    assert tiny(Conditional).steps_per_epoch == 3  # two batches a step
    assert tiny(TwoDomains, epoch_steps=2).steps_per_epoch == 2


def test_each_stream_has_its_own_augmentation() -> None:
    one = tiny(TwoDomains)
    rows: dict[str, set[tuple[float, ...]]] = {}
    for name in ("first", "second"):
        images = one.streams[name].image_set
        rows[name] = {tuple(row) for row in images.select(torch.arange(len(images)))[:, 0, 0].tolist()}
    seen: dict[str, set[tuple[float, ...]]] = {"first": set(), "second": set()}

    def see(phase: str, networks: Any, inputs: Inputs) -> None:
        for name, own in seen.items():
            own |= {tuple(row) for row in inputs[name].images[:, 0, 0].tolist()}

    watch_phases(one, see)
    one.advance(1)
    assert seen["first"] == rows["first"]
    mirrored = {row[::-1] for row in rows["second"]}
    assert seen["second"] & mirrored and seen["second"] & rows["second"] and seen["second"] <= mirrored | rows["second"]


@pytest.mark.parametrize("repeats", [1, 2])
def test_a_share_is_computed_once_and_its_gradients_are_those_of_computing_it_twice(repeats: int) -> None:
    calls: list[int] = []

    def loop(share: bool) -> Loop:
        one = gan(reuse_fakes=share, epoch_steps=1, discriminator_steps=repeats, init="default")
        one.networks["generator"].register_forward_hook(lambda *_: calls.append(1))
        return one

    shared, apart = loop(True), loop(False)
    shared.advance(1)
    assert len(calls) == repeats  # once for both phases in the last repetition
    latents: list[Tensor] = []
    sample = apart.task.sample
    # its generator's phase sees the latents of the discriminator's last repetition
    apart.task.sample = lambda *a: (
        latents[repeats - 1] if len(latents) == repeats else latents.append(sample(*a)) or latents[-1]
    )  # type: ignore[method-assign]
    apart.advance(1)
    for one, other in zip(shared.parameters["discriminator"], apart.parameters["discriminator"], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    largest = max(float(p.grad.abs().max()) for p in apart.parameters["generator"] if p.grad is not None)
    for one, other in zip(shared.parameters["generator"], apart.parameters["generator"], strict=True):
        assert one.grad is not None and other.grad is not None
        assert float((one.grad - other.grad).abs().max()) < 1e-4 * largest


class Reusing(Conditional):
    """The generator's phase computes from what the discriminator's drew, and then changes that."""

    calls: int = 0
    asks: str = "generator"

    def phases(self) -> list[Phase]:
        first, second = super().phases()

        def compute(networks: Any, inputs: Inputs) -> Mapping[str, Tensor]:
            self.calls += 1
            width = torch.zeros(len(inputs["latent"]), 2 if self.asks == "generator" else 60)
            return {"fake": networks[self.asks](torch.cat((inputs["latent"], width), 1))}

        def doubled(networks: Any, inputs: Inputs, config: Any) -> Inputs:
            return inputs.replace(latent=2 * inputs["latent"])

        return [first, dataclasses.replace(second, draws=(), transform=doubled, reuse=Reuse("discriminator", compute))]


def test_what_is_reused_is_computed_once_and_may_be_transformed() -> None:
    one = tiny(Reusing, epoch_steps=1)
    seen: list[tuple[str, bool, Tensor]] = []
    watch_phases(one, lambda phase, n, inputs: seen.append((phase, "fake" in inputs, inputs["latent"])))
    one.advance(1)
    assert one.task.calls == 1  # type: ignore[attr-defined]
    assert [each[:2] for each in seen] == [("discriminator", False), ("discriminator", True), ("generator", True)]
    assert torch.equal(seen[2][2], 2 * seen[1][2])


def test_what_is_computed_once_may_not_go_through_what_is_updated_meanwhile() -> None:
    """The later backward would use its new weights with what the old ones computed, and no error would tell."""

    class Wrong(Reusing):
        asks = "discriminator"

    with pytest.raises(GenlabError, match=r"compute\(\) of a Reuse may not call discriminator"):
        tiny(Wrong, epoch_steps=1).advance(1)


# ---- what the loss and the evaluation are given


def test_a_loss_sees_functions_and_the_same_on_one_worker_as_on_several() -> None:
    class Peeking(Tiny):
        def phases(self) -> list[Phase]:
            def loss(networks: Any, inputs: Inputs, config: Any) -> Any:
                return networks["classifier"].encode(inputs["first"].images).mean(), {}

            return [Phase("label", {"classifier": Adam(0.1)}, loss, ("first",))]

    with pytest.raises(AttributeError, match=r"calls the network classifier as a function"):
        tiny(Peeking).advance(1)


def test_modes_in_a_step_in_a_transform_and_in_an_evaluation() -> None:
    seen: list[tuple[str, bool, bool, bool]] = []

    def look(where: str, network: nn.Module) -> None:
        learns = any(p.requires_grad for p in network.parameters())
        seen.append((where, network.training, learns, torch.is_grad_enabled()))

    class Watched(Attacked):
        def networks(self) -> Mapping[str, Callable[[], nn.Module]]:
            return Tiny.networks(self)

        def phases(self) -> list[Phase]:
            (phase,) = super().phases()

            def transform(networks: Any, inputs: Inputs, config: Any) -> Inputs:
                look("transform", networks["classifier"])
                before = copy.deepcopy(networks["classifier"].state_dict())
                changed = tiny_tasks.make_worse(networks, inputs, config)
                after = networks["classifier"].state_dict()
                assert all(torch.equal(before[name], after[name]) for name in before)
                return changed

            def loss(networks: Any, inputs: Inputs, config: Any) -> Any:
                look("loss", one.networks["classifier"])
                assert float(inputs["first"].images.max()) > 1.05  # what the transform made
                return tiny_tasks.label_loss(networks, inputs, config)

            return [dataclasses.replace(phase, transform=transform, loss=loss)]

        def evaluate(self, networks: Any, split: str, epoch: int) -> Report:
            look(f"{split} {epoch}", networks["classifier"])
            return super().evaluate(networks, split, epoch)

    one = tiny(Watched, epoch_steps=1)
    before = None
    for epoch in (1, 2):
        one.advance(epoch)
        before = weights(one)
    report = one.evaluate("test")
    assert report.metrics["accuracy"] > 0
    assert before is not None and all(torch.equal(tensor, before[name]) for name, tensor in weights(one).items())
    step = [("transform", False, False, True), ("loss", True, True, True)]
    assert seen == [
        *step,
        ("validation 1", False, False, False),
        *step,
        ("validation 2", False, False, False),
        ("test 2", False, False, False),
    ]


class Guided(Tiny):
    """With a given network, and with a frozen BatchNorm inside of the trained one."""

    def networks(self) -> Mapping[str, Callable[[], nn.Module]]:
        def frozen() -> nn.Module:
            network = tiny_tasks.small_network()
            network[1].requires_grad_(False)  # type: ignore[index]
            return network

        return {"classifier": frozen}

    def given(self) -> Mapping[str, nn.Module]:
        return {"teacher": tiny_tasks.small_network()}

    def phases(self) -> list[Phase]:
        def loss(networks: Any, inputs: Inputs, config: Any) -> Any:
            images = inputs["first"].images
            return (networks["classifier"](images) - networks["teacher"](images)).square().mean(), {}

        # at a larger rate all of its ReLUs would be dead soon, and nothing could move
        return [Phase("label", {"classifier": Adam(0.01)}, loss, ("first",))]

    def evaluate(self, networks: Any, split: str, epoch: int) -> Report:
        assert set(networks) == {"classifier", "teacher"}
        return Report({"accuracy": 0.0})


def test_given_networks_and_frozen_layers_stay_as_they_are() -> None:
    one = tiny(Guided)
    teacher, own = one.given["teacher"], one.networks["classifier"]
    before = copy.deepcopy((teacher.state_dict(), own.state_dict()))
    for epoch in (1, 2):
        one.advance(epoch)
    assert not teacher.training and not any(p.requires_grad for p in teacher.parameters())
    assert all(torch.equal(tensor, before[0][name]) for name, tensor in teacher.state_dict().items())
    assert not any("teacher" in name for name in one.save().tensors)
    unchanged = {name for name, tensor in own.state_dict().items() if torch.equal(tensor, before[1][name])}
    assert unchanged == {f"1.{key}" for key in nn.BatchNorm2d(4).state_dict()}


def moves(freeze: Callable[[Any], Any]) -> tuple[bool, set[bool]]:
    """Whether BatchNorm's mean moved in an epoch, and in which modes dropout was while it trained."""

    class Partly(Tiny):
        def networks(self) -> Mapping[str, Callable[[], nn.Module]]:
            def build() -> nn.Module:
                network: Any = tiny_tasks.small_network(0.5)
                freeze(network)
                return network

            return {"classifier": build}

    one = tiny(Partly)
    network: Any = one.networks["classifier"]
    modes: set[bool] = set()
    watch_phases(one, lambda *_: modes.add(network[3].training))
    one.advance(1)
    return bool(network[1].running_mean.abs().sum() > 0), modes


class Averaged(Tiny):
    """Its phase moves a copy of the network, which `given()` built, as docs/tasks.md shows."""

    def given(self) -> Any:
        average: Any = tiny_tasks.small_network()
        average.begun = False
        return {"average": average}

    def phases(self) -> list[Phase]:
        (phase,) = super().phases()
        return [dataclasses.replace(phase, transform=follow)]

    def evaluate(self, networks: Any, split: str, epoch: int) -> Report:
        return Report({"accuracy": float(networks["average"][0].weight.sum())})


def follow(networks: Any, inputs: Inputs, config: Any) -> Inputs:
    average, share = networks["average"], 0.25 if networks["average"].begun else 1.0
    with torch.no_grad():
        for own, other in zip(average.state_dict().values(), networks["classifier"].state_dict().values(), strict=True):
            own.lerp_(other, share) if own.is_floating_point() else own.copy_(other)
    average.begun = True
    return inputs


def test_a_copy_in_given_may_follow_a_network_by_a_transform() -> None:
    """What an author does who is refused an average in `networks()`."""
    made = Loop(Averaged(build(TinyConfig, {"epoch_steps": 3}), Context()))
    network = made.networks["classifier"]
    expected: list[Tensor] = []
    step = made._train_step

    def seen(*arguments: Any) -> Any:
        expected.append(network[0].weight.detach().clone())  # type: ignore[index]
        return step(*arguments)

    made._train_step = seen  # type: ignore[method-assign]
    report = made.advance(1)
    first, second, third = expected
    average = made.given["average"][0].weight  # type: ignore[index]
    torch.testing.assert_close(average, (first.lerp(second, 0.25)).lerp(third, 0.25))
    assert not average.requires_grad and report.metrics["accuracy"] == pytest.approx(float(average.sum()))
    assert not any(name.startswith("networks/average") for name in made.save().tensors)


def test_what_is_frozen_in_part_trains_all_the_same() -> None:
    def at_its_root(network: nn.Sequential) -> None:
        network.register_parameter("scale", nn.Parameter(torch.ones(1), requires_grad=False))

    assert moves(lambda network: None) == (True, {True})
    assert moves(lambda network: network[1].bias.requires_grad_(False)) == (True, {True})
    assert moves(at_its_root) == (True, {True})
    assert moves(lambda network: network[1].requires_grad_(False)) == (False, {True})
    assert moves(lambda network: [part.requires_grad_(False) for part in network[:2]]) == (False, {True})  # both parts

    def body_without_parameters_of_its_own(network: nn.Sequential) -> None:
        body = nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.BatchNorm2d(4, affine=False)).requires_grad_(False)
        network[0], network[1] = body, nn.BatchNorm2d(4).requires_grad_(False)
        bodies.append(body)

    bodies: list[Any] = []
    moves(body_without_parameters_of_its_own)
    assert float(bodies[0][1].running_mean.abs().sum()) == 0


def test_cudnn_is_deterministic_while_it_trains_and_evaluates_and_as_before_afterwards() -> None:
    seen: list[tuple[bool, bool]] = []
    cudnn = torch.backends.cudnn

    class Watched(Tiny):
        def evaluate(self, networks: Any, split: str, epoch: int) -> Report:
            seen.append((cudnn.deterministic, cudnn.benchmark))
            return super().evaluate(networks, split, epoch)

    one = tiny(Watched, epoch_steps=1)
    watch_phases(one, lambda *_: seen.append((cudnn.deterministic, cudnn.benchmark)))
    assert not cudnn.deterministic
    cudnn.benchmark = True
    try:
        for work in (lambda: one.advance(1), lambda: one.evaluate("test")):
            work()
            assert (cudnn.deterministic, cudnn.benchmark) == (False, True)
        assert seen == [(True, False)] * 3
    finally:
        cudnn.benchmark = False


def test_spectral_normalization_runs_its_power_iteration_once_a_loss() -> None:
    one = gan(spectral_norm="discriminator", normalization="none", epoch_steps=1)
    parametrizations = [m for m in one.networks["discriminator"].modules() if type(m).__name__ == "_SpectralNorm"]
    calls: list[int] = []
    for module in parametrizations:
        module.register_forward_hook(lambda *_: calls.append(1))
    one._training_mode()
    progress = torch.tensor(0.0)
    one._train_step({(p.name, "latent"): torch.Generator() for p in one.phases}, progress, 0.0)
    assert parametrizations and len(calls) == 2 * len(parametrizations)  # D's loss calls D twice, G's once


# ---- what is reported


def test_what_an_evaluation_shows_is_in_the_epochs_report() -> None:
    import numpy as np

    class Showing(Tiny):
        def evaluate(self, networks: Any, split: str, epoch: int) -> Report:
            return Report({"accuracy": 0.25}, {split: np.full((2, 2, 1), epoch, np.uint8)})

    one = tiny(Showing, epoch_steps=2)
    report = one.advance(1)
    assert report.metrics["accuracy"] == 0.25 and int(report.images["validation"][0, 0, 0]) == 1
    assert report.metrics["images_per_second"] > 0 and report.metrics["epoch_seconds"] > 0
    seconds = 2 * 8 / report.metrics["images_per_second"]  # two steps of eight images
    assert 0 < seconds <= report.metrics["epoch_seconds"]
    tested = one.evaluate("test")
    assert tested.metrics == {"accuracy": 0.25} and set(tested.images) == {"test"}


def test_a_step_shows_the_mean_of_its_repetitions_and_an_epoch_the_mean_of_its_steps() -> None:
    one = gan(discriminator_steps=3, epoch_steps=2)
    seen: list[float] = []
    first = one.phases[0]

    def spy(*arguments: Any) -> Any:
        loss, scores = first.loss(*arguments)
        seen.append(float(loss.detach()))
        return loss, scores

    one.phases[0] = dataclasses.replace(first, loss=spy)
    report = one.advance(1)
    assert len(seen) == 6
    assert report.steps["loss/discriminator"] == pytest.approx([sum(seen[:3]) / 3, sum(seen[3:]) / 3], rel=1e-5)
    assert report.metrics["loss/discriminator"] == pytest.approx(sum(seen) / 6, rel=1e-5)
    assert report.first_step == 0 and one.advance(2).first_step == 2


def scored(name: str, only_once: bool = False) -> type[Tiny]:
    """A task of two phases, the second of which reports a score of this name."""
    counted: list[int] = []

    class Task(Tiny):
        def phases(self) -> list[Phase]:
            (first,) = super().phases()

            def loss(networks: Any, inputs: Inputs, config: Any) -> Any:
                counted.append(1)
                value, _ = tiny_tasks.label_loss(networks, inputs, config)
                return value, {} if only_once and len(counted) > 1 else {name: value.detach()}

            return [first, dataclasses.replace(first, name="second", loss=loss)]

    return Task


def test_two_phases_that_report_the_same_name_are_refused() -> None:
    with pytest.raises(GenlabError, match="the phase second reports loss/label, which an earlier one reports"):
        tiny(scored("loss/label")).advance(1)
    with pytest.raises(GenlabError, match="the phase second reports a score of its loss's own name"):
        tiny(scored("loss/second")).advance(1)
    assert "score" in tiny(scored("score")).advance(1).metrics
    with pytest.raises(GenlabError, match="in one step"):
        tiny(scored("score", only_once=True)).advance(1)


def test_what_diverged_shows_its_last_finite_value() -> None:
    class Task(Tiny):
        def phases(self) -> list[Phase]:
            (first,) = super().phases()

            def loss(networks: Any, inputs: Inputs, config: Any) -> Any:
                value, _ = tiny_tasks.label_loss(networks, inputs, config)
                score = 1 + 12 * inputs.progress  # 1, 2, 3, then nothing finite
                return value, {"score": torch.where(score < 3.5, score, torch.nan)}

            return [dataclasses.replace(first, loss=loss)]

    report = tiny(Task, epoch_steps=4).advance(1)
    assert report.diverged and report.steps["score"].tolist()[:3] == pytest.approx([1, 2, 3])
    assert report.metrics["score"] == pytest.approx(3)


def test_an_evaluation_may_not_report_what_the_training_does() -> None:
    for name in ("loss/label", "epoch_seconds"):

        class Task(Tiny):
            def evaluate(self, networks: Any, split: str, epoch: int, name: str = name) -> Report:
                return Report({name: 1.0})

        with pytest.raises(GenlabError, match=f"evaluate.* reports {name}, which the training reports already"):
            tiny(Task, epoch_steps=1).advance(1)


def test_a_weight_that_is_not_finite_after_the_last_step_is_divergence() -> None:
    one = tiny(epoch_steps=1)
    updater = one.updaters["label"]["classifier"]
    step = updater.step

    def break_it(progress: float) -> None:
        step(progress)
        with torch.no_grad():
            updater.parameters[0].view(-1)[-1] = float("inf")

    updater.step = break_it  # type: ignore[method-assign]
    report = one.advance(1)
    assert report.diverged and report.metrics["loss/label"] > 0
    assert report.metrics.keys() == {"loss/label"}  # nothing was evaluated


def test_divergence_is_reported_with_the_last_finite_values() -> None:
    one = gan(lr_generator=1e30, lr_discriminator=1e30, epoch_steps=20)
    report = one.advance(1)
    assert report.diverged and report.metrics and not report.images
    for name, curve in report.steps.items():
        assert len(curve) == 20
        finite = [value for value in curve.tolist() if value == value and abs(value) != float("inf")]
        if finite:
            assert report.metrics[name] == finite[-1]
        else:
            assert name not in report.metrics


@pytest.mark.parametrize(
    "make",
    [
        lambda: gan(augment="crop_flip"),
        lambda: gan(spectral_norm="both", normalization="none"),
        lambda: gan(reuse_fakes=True),
        lambda: tiny(Attacked),
        lambda: tiny(TwoDomains),
        lambda: tiny(Conditional),
    ],
)
def test_a_step_never_asks_the_device_for_a_number(make: Callable[[], Loop]) -> None:
    class Watch(TorchDispatchMode):
        """Hears every operation."""

        asked: ClassVar[list[str]] = []

        def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if any(word in str(op) for word in ("_local_scalar_dense", "nonzero", "unique", "masked_select")):
                self.asked.append(str(op))
            return op(*args, **(kwargs or {}))

    Watch.asked.clear()
    one = make()
    samplers = {(p.name, name): torch.Generator() for p in one.phases for name in p.draws if name not in one.batches}
    progress = torch.tensor(0.0)
    one._training_mode()
    one._train_step(samplers, progress, 0.0)
    with Watch() as watch:
        one.steps_done = 1
        one._train_step(samplers, progress, 0.0)
        assert not watch.asked
        torch.ones(1).item()
    assert watch.asked  # it does hear them


def test_streams_are_replaced_between_epochs_and_their_labels_with_them() -> None:
    one = tiny(PseudoLabels, epochs=3)
    seen: list[tuple[int, set[tuple[float, ...]]]] = []
    labelled: list[tuple[tuple[float, ...], int]] = []

    def see(phase: str, networks: Any, inputs: Inputs) -> None:
        rows = [tuple(row) for row in inputs["first"].images[:, 0, 0].tolist()]
        seen.append((len(rows), set(rows)))
        labelled.extend(zip(rows, inputs["first"].labels.tolist(), strict=True))

    watch_phases(one, see)
    one.advance(1)
    subset = one.streams["first"].image_set
    assert subset.labels is not None
    assert len(subset) == 20 and subset.base is one.task.initial_streams["first"].image_set
    one.advance(2)
    assert len(seen) == 12  # the number of steps stays
    rows = {tuple(row) for row in subset.select(torch.arange(20))[:, 0, 0].tolist()}
    rows |= {row[::-1] for row in rows}  # it flips them
    assert all(images <= rows for _, images in seen[6:])
    bright = {
        tuple(row): int(label)
        for row, label in zip(subset.select(torch.arange(20))[:, 0, 0].tolist(), subset.labels, strict=True)
    }
    bright |= {row[::-1]: label for row, label in bright.items()}
    for row, label in labelled[6 * 8 :]:
        assert label == bright[row]
    assert not all(images <= rows for _, images in seen[:6])
    assert one.streams["first"].image_set is not subset
    last = one.streams["first"]
    one.advance(3)
    assert one.streams["first"] is last  # none comes after the last epoch
