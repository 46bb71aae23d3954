"""Each field of a config changes what it names, and nothing that it does not."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from test_loop import watch_phases
from test_ranks import Judged
from torch import Tensor

from genlab.tasks import ClassifierConfig, Config, Context, DAEConfig, GANConfig, Inputs, PhasedTask, VAEConfig, build
from genlab.tasks.classifier import ClassifierTask
from genlab.tasks.dae import DAETask
from genlab.tasks.vae import VAETask
from genlab.training import Loop
from genlab.training.loop import below

# networks: their weights and their optimizers' states
G, D, C, VAE, DAE = "generator", "discriminator", "classifier", "vae", "dae"
REAL, LATENT, SIZES = "images of the first batch", "first latents", "sizes of what is compared"
LEARNED = {G, D}


TASKS: dict[str, tuple[type[PhasedTask], type[Config], dict[str, Any]]] = {
    "gan": (
        Judged,
        GANConfig,
        {"ngf": 4, "ndf": 4, "nz": 4, "batch_size": 8, "epoch_steps": 1, "evaluation_samples": 64, "init": "default"},
    ),
    "classifier": (ClassifierTask, ClassifierConfig, {"width": 4, "features": 8, "batch_size": 8, "epoch_steps": 1}),
    "vae": (VAETask, VAEConfig, {"width": 8, "nz": 4, "batch_size": 8, "epoch_steps": 1}),
    "dae": (DAETask, DAEConfig, {"width": 8, "nz": 4, "batch_size": 8, "epoch_steps": 1}),
}
EVERYTHING = {REAL, LATENT} | LEARNED
EFFECTS: dict[str, dict[str, tuple[Any, set[str]]]] = {
    "gan": {
        "dataset": ("image_folder", {REAL, SIZES} | LEARNED),
        "image_size": (64, {REAL} | LEARNED),
        "augment": ("crop_flip", {REAL} | LEARNED),
        "batch_size": (12, EVERYTHING),
        "seed": (1, EVERYTHING),
        "noise": ("uniform", {LATENT} | LEARNED),
        "nz": (5, {LATENT} | LEARNED),
        "ngf": (6, LEARNED),
        "ndf": (6, LEARNED),
        "loss": ("least_squares", LEARNED),
        "lr_generator": (1e-3, {G}),  # in the first step the discriminator learns before it
        "lr_discriminator": (1e-3, LEARNED),
        "beta1": (0.25, LEARNED),
        "beta2": (0.9, LEARNED),
        "normalization": ("instance", LEARNED),
        "dropout": (0.3, LEARNED),
        "spectral_norm": ("discriminator", LEARNED),
        "init": ("dcgan", LEARNED),
        "discriminator_steps": (2, LEARNED),
        "reuse_fakes": (True, LEARNED),
        "epoch_steps": (2, LEARNED),
        "evaluation_samples": (65, {SIZES}),
        "epochs": (9, set()),  # no rate and no loss of these tasks goes by progress
        "judge_steps": (9, set()),  # reaches what is prepared: see test_config
        "judge": ("/a/state.safetensors", set()),
        "architecture": ("fully_connected", LEARNED),
        "conditional": ("both", LEARNED),
        "judge_image_size": (64, set()),  # another judge: see test_judging
    },
    "classifier": {
        "dataset": ("image_folder", {REAL, C}),
        "image_size": (64, {REAL, C}),
        "augment": ("flip", {REAL, C}),
        "target": ("rotation", {C}),
        "batch_size": (12, {REAL, C}),
        "seed": (1, {REAL, C}),
        "width": (6, {C}),
        "features": (9, {C}),
        "lr": (1e-1, {C}),
        "beta1": (0.25, {C}),
        "beta2": (0.9, {C}),
        "epoch_steps": (2, {C}),
        "epochs": (9, set()),
    },
    "vae": {
        "dataset": ("image_folder", {REAL, VAE}),
        "image_size": (64, {REAL, VAE}),
        "augment": ("crop_flip", {REAL, VAE}),
        "batch_size": (12, {REAL, VAE}),
        "seed": (1, {REAL, VAE}),
        "architecture": ("convolutional", {VAE}),
        "width": (6, {VAE}),
        "nz": (5, {VAE}),
        "lr": (1e-2, {VAE}),
        "beta1": (0.5, {VAE}),
        "beta2": (0.9, {VAE}),
        "epoch_steps": (2, {VAE}),
        "epochs": (9, set()),
    },
    "dae": {
        "dataset": ("image_folder", {REAL, DAE}),
        "image_size": (64, {REAL, DAE}),
        "augment": ("crop_flip", {REAL, DAE}),
        "batch_size": (12, {REAL, DAE}),
        "seed": (1, {REAL, DAE}),
        "noise_std": (0.3, {DAE}),
        "width": (6, {DAE}),
        "nz": (5, {DAE}),
        "lr": (1e-2, {DAE}),
        "beta1": (0.5, {DAE}),
        "beta2": (0.9, {DAE}),
        "epoch_steps": (2, {DAE}),
        "epochs": (9, set()),
    },
}


def digest(tensors: Mapping[str, Tensor]) -> str:
    seen = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        seen.update(f"{name} {list(tensor.shape)}".encode() + tensor.detach().contiguous().numpy().tobytes())
    return seen.hexdigest()


def outcome(name: str, folder: str, **changes: Any) -> dict[str, Any]:
    """By part, what one epoch came to."""
    kind, config_kind, settings = TASKS[name]
    loop = Loop(kind(build(config_kind, settings | changes), Context(data_root=folder)))
    seen: dict[str, Tensor] = {}

    def see(phase: str, networks: Any, inputs: Inputs) -> None:
        for stream in inputs.values:
            value = inputs[stream]
            seen.setdefault(stream, value if isinstance(value, Tensor) else value.images.clone())

    watch_phases(loop, see)
    report = loop.advance(1)
    state = loop.save().tensors
    parts: dict[str, Any] = {
        network: digest(below(state, f"networks/{network}/"))
        + "".join(digest(below(state, f"optimizers/{phase}/{network}/")) for phase in loop.updaters)
        for network in loop.networks
    }
    parts[REAL] = digest({"": seen[next(iter(loop.streams))]})
    if "latent" in seen:
        parts[LATENT] = digest({"": seen["latent"]})
    parts[SIZES] = {n: value for n, value in report.metrics.items() if n.startswith("sizes/")}
    return parts


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A data root, itself an `image_folder` of two classes."""
    root: Path = tmp_path_factory.mktemp("root")
    for i in range(120):
        (root / "ab"[i % 2]).mkdir(exist_ok=True)
        Image.new("RGB", (32, 32), (i, 2 * i, 200)).save(root / "ab"[i % 2] / f"{i}.png")
    return str(root)


@pytest.fixture(scope="module")
def unchanged(folder: str) -> dict[str, dict[str, Any]]:
    return {name: outcome(name, folder) for name in TASKS}


@pytest.mark.parametrize("name", TASKS)
def test_all_fields_are_looked_at(name: str) -> None:
    assert {field.name for field in dataclasses.fields(TASKS[name][1])} == EFFECTS[name].keys()


@pytest.mark.parametrize(("name", "field"), [(name, field) for name, fields in EFFECTS.items() for field in fields])
def test_a_field_changes_what_it_names(
    name: str, field: str, folder: str, unchanged: dict[str, dict[str, Any]]
) -> None:
    other, expected = EFFECTS[name][field]
    before, after = unchanged[name], outcome(name, folder, **{field: other})
    assert {part for part in before if before[part] != after[part]} == expected
