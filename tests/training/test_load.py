"""A checkpoint alone gives the trained networks back, in a process that has no data."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_tasks
import torch
from test_loop import SMALL, Unjudged

import genlab
from genlab.errors import CorruptFile, GenlabError
from genlab.tasks import ClassifierConfig, Context, DAEConfig, GANConfig, State, VAEConfig, build
from genlab.tasks.classifier import ClassifierTask
from genlab.tasks.dae import DAETask
from genlab.tasks.vae import VAETask
from genlab.training import Checkpoint, Trial

GAN_SETTINGS = SMALL | {"epochs": 2, "spectral_norm": "both", "normalization": "none"}

CASES: dict[str, tuple[Any, Any, Any]] = {
    "gan": (Unjudged, build(GANConfig, GAN_SETTINGS), {"generator": (4, 8), "discriminator": (4, 1, 32, 32)}),
    "classifier": (
        ClassifierTask,
        build(ClassifierConfig, {"epoch_steps": 2, "width": 4}),
        {"classifier": (4, 1, 32, 32)},
    ),
    "rotations": (
        ClassifierTask,
        build(ClassifierConfig, {"epoch_steps": 2, "width": 4, "target": "rotation"}),
        {"classifier": (4, 1, 32, 32)},
    ),
}
CODE = """
import pathlib, sys, torch, genlab
for folder in pathlib.Path(sys.argv[1]).iterdir():
    networks = genlab.load(folder / "state.safetensors", replica=1)
    inputs = torch.load(folder / "inputs.pt")
    assert not any(network.training for network in networks.values())
    torch.save({name: networks[name](each).detach() for name, each in inputs.items()}, folder / "outputs.pt")
"""


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """By case what each network said here after its training, and what it says loaded by a process of its own."""
    root = tmp_path_factory.mktemp("loaded")
    trained = {}
    for case, (kind, config, shapes) in CASES.items():
        trial = Trial(kind, config, Context(), replicas=2)
        trial.advance()
        folder = root / case
        folder.mkdir()
        (folder / "state.safetensors").write_bytes(trial.checkpoint().encode())
        inputs = {name: torch.rand(shape) for name, shape in shapes.items()}
        torch.save(inputs, folder / "inputs.pt")
        networks = trial.replicas[1].networks  # type: ignore[attr-defined]
        trained[case] = {name: network.eval()(inputs[name]) for name, network in networks.items()}
    # no folder of this machine holds a data set: its cache is an empty one that cannot be written to
    nowhere = {"GENLAB_CACHE": "/proc/nowhere", "PATH": "", "OMP_NUM_THREADS": str(torch.get_num_threads())}
    subprocess.run([sys.executable, "-c", CODE, str(root)], check=True, env=nowhere)
    return {case: (trained[case], torch.load(root / case / "outputs.pt")) for case in CASES}


@pytest.mark.parametrize("case", CASES)
def test_loaded_networks_give_bitwise_what_the_trained_ones_do(case: str, outputs: dict[str, Any]) -> None:
    trained, loaded = outputs[case]
    assert trained.keys() == loaded.keys() == CASES[case][2].keys()
    assert all(torch.equal(trained[name], loaded[name]) for name in trained)


def test_a_script_defined_task_is_passed_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a checkpoint by a path, a URL, or its name in the working directory."""
    trial = Trial(tiny_tasks.Tiny, build(tiny_tasks.TinyConfig, {}), Context(), script="sweeps/mine.py")
    trial.advance()
    path = tmp_path / "state.safetensors"
    path.write_bytes(trial.checkpoint().encode())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GenlabError, match=r"TinyConfig, which sweeps/mine.py defines.*task=TheTask"):
        genlab.load(path)
    images = torch.rand(3, 1, 8, 8)
    for where in (path, str(path), path.as_uri(), "state.safetensors"):
        loaded = genlab.load(where, task=tiny_tasks.Tiny)["classifier"](images)
        assert torch.equal(loaded, trial.replicas[0].networks["classifier"].eval()(images))  # type: ignore[attr-defined]


def test_what_a_network_makes_of_its_seed_is_made_again_for_each_replica(tmp_path: Path) -> None:
    """Also what it does not keep in its state, such as a fixed permutation."""

    class Shuffled(tiny_tasks.Tiny):
        def networks(self) -> Any:
            def build_network() -> Any:
                network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
                order = torch.randperm(64)
                network.register_forward_pre_hook(lambda module, inputs: inputs[0].flatten(1)[:, order])
                return network

            return {"classifier": build_network}

    trial = Trial(Shuffled, build(tiny_tasks.TinyConfig, {}), Context(), replicas=2)
    trial.advance()
    images = torch.rand(3, 1, 8, 8)
    for replica in (0, 1):
        loaded = genlab.load(trial.checkpoint(), task=Shuffled, replica=replica)["classifier"]
        assert torch.equal(loaded(images), trial.replicas[replica].networks["classifier"].eval()(images))  # type: ignore[attr-defined]


def test_kernels_of_three_dimensions_train() -> None:
    class Deep(tiny_tasks.Tiny):
        def networks(self) -> Any:
            layers = torch.nn.Unflatten(1, (1, 1)), torch.nn.Conv3d(1, 2, (1, 3, 3)), torch.nn.Flatten()
            return {"classifier": lambda: torch.nn.Sequential(*layers, torch.nn.Linear(72, 2))}

    trial = Trial(Deep, build(tiny_tasks.TinyConfig, {"epoch_steps": 1}), Context())
    assert not trial.advance()[0].diverged


@pytest.mark.parametrize(
    ("task", "config", "field"),
    [
        (Unjudged, build(GANConfig, GAN_SETTINGS), "ngf"),
        (Unjudged, build(GANConfig, GAN_SETTINGS), "nz"),
        (ClassifierTask, build(ClassifierConfig, {"epoch_steps": 1, "width": 4}), "width"),
        (VAETask, build(VAEConfig, {"epoch_steps": 1, "width": 4, "nz": 2}), "width"),
        (DAETask, build(DAEConfig, {"epoch_steps": 1, "width": 4, "nz": 2}), "nz"),
    ],
)
def test_a_config_that_asks_for_other_networks_than_the_file_holds_takes_no_memory(
    task: Any, config: Any, field: str
) -> None:
    """A checkpoint comes from anybody, and a field of its config may ask for more than the machine has."""
    trial = Trial(task, config, Context())
    trial.advance()
    kept = trial.checkpoint()
    genlab.load(kept, task=task)
    for size in (9, 1 << 30, 1 << 62):
        with pytest.raises(GenlabError, match=r"does not hold the networks|makes no networks of"):
            genlab.load(replace(kept, config={**kept.config, field: size}), task=task)


def test_what_cannot_be_loaded_is_said(tmp_path: Path) -> None:
    with pytest.raises(GenlabError, match="there is no checkpoint"):
        genlab.load(tmp_path / "absent.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"123456789")
    with pytest.raises(CorruptFile, match=r"bad\.safetensors"):
        genlab.load(tmp_path / "bad.safetensors")
    trial = Trial(tiny_tasks.Tiny, build(tiny_tasks.TinyConfig, {}), Context())
    with pytest.raises(GenlabError, match="of the task TinyConfig, not of gan"):
        genlab.load(trial.checkpoint(), task=Unjudged)
    for replica in (1, -1):
        with pytest.raises(GenlabError, match=f"has 1 replicas: there is no number {replica}"):
            genlab.load(trial.checkpoint(), task=tiny_tasks.Tiny, replica=replica)
    less = trial.checkpoint()
    name = "networks/classifier/0.weight"
    assert name in less.states[0].tensors
    del less.states[0].tensors[name]
    with pytest.raises(GenlabError, match=r"classifier/0\.weight is missing in the file, and of shape"):
        genlab.load(less, task=tiny_tasks.Tiny)
    without = Checkpoint("MeanConfig", None, {}, {}, 1, [0], [State({"means": torch.ones(2)}, {})])
    with pytest.raises(GenlabError, match="Means trains no networks"):
        genlab.load(without, task=tiny_tasks.Means)
    with pytest.raises(AttributeError):
        genlab.lode  # type: ignore[attr-defined]  # noqa: B018
