"""Spectral normalization: against exact singular values and torch's own, alone, stacked, cached, and its cost."""

import copy
from collections import Counter
from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn.utils import parametrizations, parametrize
from torch.utils._python_dispatch import TorchDispatchMode

from genlab.models import NORMALIZATIONS, Discriminator, Generator
from genlab.models.spectral_norm import spectral_norm

LAYERS = {
    "convolution": lambda: nn.Conv2d(3, 5, 4),
    "transposed": lambda: nn.ConvTranspose2d(3, 5, 4),
    "channels_last": lambda: nn.Conv2d(3, 5, 4).to(memory_format=torch.channels_last),
    "transposed_channels_last": lambda: nn.ConvTranspose2d(3, 5, 4).to(memory_format=torch.channels_last),
    "linear": lambda: nn.Linear(7, 5),
}


def make(which, dtype=torch.float64):
    torch.manual_seed(0)
    return spectral_norm(LAYERS[which]().to(dtype))


def original(layer):
    return layer.parametrizations.weight.original


def u_of(layer):
    return layer.parametrizations.weight[0].u


def matrix(layer, weight):
    """A row per output channel, whatever the layer."""
    return (weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else weight).flatten(1)


def step(rows, u):
    """One power iteration by its definition: the singular vectors' next estimates."""
    v = rows.T @ u
    v = v / v.norm()
    u = rows @ v
    return u / u.norm(), v


@pytest.mark.parametrize("which", LAYERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sigma_converges_to_the_largest_singular_value(which, dtype):
    layer = make(which, dtype)
    for _ in range(300):
        weight = layer.weight
    exact = torch.linalg.svdvals(matrix(layer, original(layer)))[0]
    torch.testing.assert_close(weight * exact, original(layer), rtol=1e-5, atol=0)
    assert weight.dtype == dtype


@pytest.mark.parametrize("which", LAYERS)
def test_gradient_is_that_of_the_exact_singular_value_at_convergence(which):
    layer = make(which)
    for _ in range(1000):
        weight = layer.weight
    factor = torch.randn_like(weight)
    (found,) = torch.autograd.grad((weight * factor).sum(), original(layer))
    exact = original(layer) / torch.linalg.svdvals(matrix(layer, original(layer)))[0]
    (expected,) = torch.autograd.grad((exact * factor).sum(), original(layer))
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("which", LAYERS)
@pytest.mark.parametrize("training", [True, False])
def test_value_and_gradient_before_convergence_are_those_of_constant_vectors(which, training):
    layer = make(which).train(training)
    with torch.no_grad():
        u_of(layer).copy_(nn.functional.normalize(torch.randn(5, dtype=torch.float64), dim=0))
    rows = matrix(layer, original(layer))
    u, v = (vector.detach() for vector in step(rows, u_of(layer)))
    expected = original(layer) / (u @ rows @ v)
    weight = layer.weight
    torch.testing.assert_close(weight, expected, rtol=1e-10, atol=0)
    factor = torch.randn_like(weight)
    (found,) = torch.autograd.grad((weight * factor).sum(), original(layer))
    (wanted,) = torch.autograd.grad((expected * factor).sum(), original(layer))
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)


def test_a_read_is_one_power_iteration_in_training_mode_and_none_in_evaluation_mode():
    layer = make("convolution")
    before = u_of(layer).clone()
    layer.eval()
    first, second = layer.weight, layer.weight
    assert torch.equal(first, second)
    assert torch.equal(u_of(layer), before)
    layer.train()
    torch.testing.assert_close(layer.weight, first)
    expected, _ = step(matrix(layer, original(layer)).detach(), before)
    torch.testing.assert_close(u_of(layer), expected, rtol=1e-10, atol=1e-12)
    assert not torch.equal(u_of(layer), before)


def test_u_begins_with_fifteen_power_iterations_from_torchs_generator():
    layer = nn.Conv2d(3, 5, 4).double()
    torch.manual_seed(3)
    u = torch.empty(5, dtype=torch.float64).normal_()
    after = torch.rand(1)
    torch.manual_seed(3)
    spectral_norm(layer)
    assert torch.equal(torch.rand(1), after)
    for _ in range(15 + 1):  # registering a parametrization reads it once
        u, _ = step(matrix(layer, original(layer)).detach(), u)
    torch.testing.assert_close(u_of(layer), u, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("which", LAYERS)
def test_two_forwards_before_a_backward_add_their_gradients(which):
    layer = make(which)
    with torch.no_grad():  # far from converged, so that the two forwards differ
        u_of(layer).copy_(nn.functional.normalize(torch.randn(5, dtype=torch.float64), dim=0))
    apart = copy.deepcopy(layer)
    factors = torch.randn(2, *layer.weight.shape, dtype=torch.float64)
    apart.weight  # noqa: B018  # the read that gave the shape was a power iteration, too
    first, second = layer.weight, layer.weight
    assert not torch.allclose(first, second)
    ((first * factors[0]).sum() + (second * factors[1]).sum()).backward()
    for factor in factors:
        (apart.weight * factor).sum().backward()
    torch.testing.assert_close(original(layer).grad, original(apart).grad, rtol=1e-12, atol=1e-14)


def test_cached_reads_are_one_power_iteration_and_one_graph():
    layer = make("convolution")
    apart = copy.deepcopy(layer)
    inputs = torch.randn(2, 6, 3, 8, 8, dtype=torch.float64)
    with parametrize.cached():
        assert layer.weight is layer.weight
        sum(layer(x).square().sum() for x in inputs).backward()
    apart(inputs.flatten(0, 1)).square().sum().backward()
    torch.testing.assert_close(u_of(layer), u_of(apart), rtol=0, atol=0)
    torch.testing.assert_close(original(layer).grad, original(apart).grad)


def stack_of(kind, normalization="batch"):
    networks = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        if kind == "generator":
            networks.append(Generator(nz=5, ngf=4, channels=2, image_size=32, spectral_norm=True))
        else:
            networks.append(
                Discriminator(ndf=4, channels=2, image_size=32, spectral_norm=True, normalization=normalization)
            )
    inputs = torch.randn(2, 2, 6, *((5,) if kind == "generator" else (2, 32, 32)), dtype=torch.float64)
    return [network.double() for network in networks], inputs


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize(
    ("kind", "normalization"), [("generator", "batch"), *(("discriminator", name) for name in NORMALIZATIONS)]
)
def test_stacked_networks_in_training_mode_equal_those_run_one_by_one(kind, normalization, cached):
    networks, inputs = stack_of(kind, normalization)
    context = parametrize.cached if cached else nullcontext
    parameters, buffers = stack_module_state(networks)
    template = copy.deepcopy(networks[0])

    def loss(run, pair):  # two forwards, then one backward
        with context():
            return (run(pair[0]) + run(pair[1]).square()).mean()

    def stacked_loss(parameters, buffers, pair):
        return loss(lambda x: functional_call(template, (parameters, buffers), (x,)), pair)

    gradients = vmap(grad(stacked_loss))(parameters, buffers, inputs)
    for place, network in enumerate(networks):
        start = {name: value.clone() for name, value in network.named_buffers()}
        loss(network, inputs[place]).backward()
        for name, parameter in network.named_parameters():
            torch.testing.assert_close(gradients[name][place], parameter.grad, rtol=1e-7, atol=1e-12)
        for name, value in network.named_buffers():
            torch.testing.assert_close(buffers[name][place], value, rtol=1e-7, atol=1e-12)
            if name.endswith("u") and len(value) > 1:
                assert not torch.equal(value, start[name])


def test_nothing_waits_for_the_device():
    layer = make("convolution", torch.float32).to("meta")  # has no values: whatever asks for one raises
    layer(torch.zeros(2, 3, 8, 8, device="meta")).sum().backward()
    assert original(layer).grad.device.type == "meta"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_nothing_waits_for_a_gpu():
    layer = make("transposed", torch.float32).cuda()
    images = torch.rand(2, 3, 8, 8, device="cuda")
    layer(images).sum().backward()  # the first use of a library may wait
    torch.cuda.set_sync_debug_mode("error")
    try:
        layer(images).sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("which", LAYERS)
def test_state_comes_back(which):
    layer, other = make(which), make(which)
    with torch.no_grad():
        original(layer).mul_(torch.randn_like(original(layer)))
    layer.weight  # noqa: B018  # a power iteration
    state = layer.state_dict()
    assert set(state) == {"bias", "parametrizations.weight.original", "parametrizations.weight.0.u"}
    other.load_state_dict(state)
    assert torch.equal(layer.eval().weight, other.eval().weight)


@pytest.mark.parametrize("which", LAYERS)
def test_zero_weights_give_zeros_and_do_not_lose_u(which):
    layer = make(which, torch.float32)
    kept, before = original(layer).detach().clone(), u_of(layer).clone()
    with torch.no_grad():
        original(layer).zero_()
    weight = layer.weight
    weight.sum().backward()
    assert not weight.any()
    assert original(layer).grad.isfinite().all()
    torch.testing.assert_close(u_of(layer), before)
    with torch.no_grad():
        original(layer).copy_(kept)
    for _ in range(300):
        weight = layer.weight
    torch.testing.assert_close(torch.linalg.matrix_norm(matrix(layer, weight), 2).item(), 1.0, rtol=1e-5, atol=0)


def test_weights_that_begin_as_zero_are_accepted():
    layer = nn.Conv2d(3, 5, 4)
    nn.init.zeros_(layer.weight)
    spectral_norm(layer)
    torch.testing.assert_close(u_of(layer).norm().item(), 1.0)
    assert not layer.weight.any()


def test_other_names_and_refusals():
    cell = spectral_norm(nn.RNNCell(4, 3), "weight_hh")
    for _ in range(300):
        weight = cell.weight_hh
    assert torch.linalg.matrix_norm(weight, 2).item() == pytest.approx(1, rel=1e-5)
    with pytest.raises(ValueError, match=r"bias has shape \[3\]"):
        spectral_norm(nn.Linear(4, 3), "bias")


class Operations(TorchDispatchMode):
    """Counts what is sent to the device."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, operation, types, arguments=(), keywords=None):
        self.counts[operation] += 1
        return operation(*arguments, **(keywords or {}))


@pytest.mark.parametrize("which", ["channels_last", "transposed_channels_last"])
def test_channels_last_is_kept_and_read_without_a_copy(which):
    layer = make(which, torch.float32)
    with Operations() as operations:
        weight = layer.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.ops.aten.clone.default not in operations.counts


def operations_of_a_step(normalize, context, forwards=2):
    """Of forwards of a discriminator and one backward."""
    torch.manual_seed(0)
    network = Discriminator(ndf=8, channels=1, image_size=32)
    for layer in network.layers:
        if normalize is not None and isinstance(layer, nn.Conv2d):
            normalize(layer)
    images = torch.randn(4, 1, 32, 32)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    with Operations() as operations, context():
        sum(network(images).mean() for _ in range(forwards)).backward()
    return operations.counts.total()


def test_fewer_operations_than_torchs_own():
    torchs = parametrizations.spectral_norm
    none = operations_of_a_step(None, nullcontext)
    costs = {
        (name, context): operations_of_a_step(normalize, context) - none
        for name, normalize in (("ours", spectral_norm), ("torch", torchs))
        for context in (nullcontext, parametrize.cached)
    }
    assert costs["ours", nullcontext] < 0.9 * costs["torch", nullcontext]
    assert costs["ours", parametrize.cached] < 0.9 * costs["torch", parametrize.cached]
    assert costs["ours", parametrize.cached] < 0.5 * costs["torch", nullcontext]
    # as the networks have it
    torch.manual_seed(0)
    network = Discriminator(ndf=8, channels=1, image_size=32, spectral_norm=True)
    found = {type(layer.parametrizations.weight[0]) for layer in network.layers if isinstance(layer, nn.Conv2d)}
    assert found == {type(make("convolution").parametrizations.weight[0])}
