"""`genlab sample`, and the same in Python: what a GAN draws, from its checkpoint alone."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import genlab
from genlab import cli, sampling
from genlab.data import SetDescription
from genlab.errors import GenlabError
from genlab.grids import grid, labelled
from genlab.sampling import Sampler
from genlab.tasks import Context, GANConfig, PhasedTask, State, build, task_name
from genlab.tasks.classifier import ClassifierTask
from genlab.tasks.fields import as_dict
from genlab.tasks.gan import GAN
from genlab.training import Checkpoint
from genlab.training import networks as nets

CLASSES = ("zero", "one", "two")
SEEN = dict.fromkeys(("real", "labelled"), SetDescription("digits", "train", (9, 1, 32, 32), CLASSES, "0" * 16))


@dataclass(frozen=True, kw_only=True)
class OwnConfig(GANConfig):
    """Of a task that a script defines."""


class Own(GAN):
    Config = OwnConfig


NARROW: dict[type, dict[str, Any]] = {
    GAN: {"ngf": 4, "ndf": 4, "nz": 6},
    Own: {"ngf": 4, "ndf": 4, "nz": 6},
    ClassifierTask: {"width": 4},
}


def checkpoint(kind: type[PhasedTask] = GAN, seeds: tuple[int, ...] = (0,), **settings: Any) -> Checkpoint:
    """Of narrow networks that were not trained: their weights follow from the seed, and are large enough to draw more
    than gray."""
    config = build(kind.Config, NARROW[kind] | settings)
    states = []
    for seed in seeds:
        task = kind(replace(config, seed=seed), Context())
        task.data = SEEN
        tensors = {
            f"networks/{name}/{key}": value * (6.0 if value.ndim > 1 else 1)
            for name, network in nets.make(task).items()
            for key, value in network.state_dict().items()
        }
        states.append(State(tensors, {}))
    seen = {name: each.as_json() for name, each in SEEN.items()}
    return Checkpoint(task_name(kind.Config), None, as_dict(config), seen, 1, list(seeds), states)


@pytest.fixture(autouse=True)
def no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Context, "load", lambda *_: pytest.fail("a data set was read"))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Any]:
    """Runs `genlab sample` in an empty folder: the picture uint8 [H, W, 3], or what was said where it is refused."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def sample(*words: object, out: str = "samples.png", code: int = 0) -> Any:
        monkeypatch.setattr(sys, "argv", ["genlab", "sample", *map(str, words)])
        with pytest.raises(SystemExit) as exit:
            cli.main()
        said = capsys.readouterr()
        assert exit.value.code == code, said.err
        if code:
            assert not list(Path().iterdir()) and said.err.startswith("genlab: ") and said.err.count("\n") == 1
            return said.err
        assert said.out == f"{out}\n"
        return np.asarray(Image.open(out))

    return sample


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """Writes a checkpoint as a file; its path."""

    def write(made: Checkpoint) -> Path:
        path = tmp_path / "epoch_0001-a.state.safetensors"
        path.write_bytes(made.encode())
        return path

    return write


def test_a_grid_of_what_the_generator_draws(run: Any, saved: Any) -> None:
    path = saved(checkpoint(seeds=(0, 1)))
    images = genlab.sample(path, 5)
    assert images.shape == (5, 32, 32, 1) and images.dtype == np.uint8 and len(np.unique(images)) > 20
    networks = genlab.load(path)
    latents = sampling.generator(0, "sampling")
    drawn = networks["generator"](torch.randn(5, 6, generator=latents)).detach()
    expected = ((drawn + 1) * 127.5).movedim(1, -1).numpy()
    np.testing.assert_allclose(images, expected, atol=0.51)
    first = run(path, "--n", 5)
    np.testing.assert_array_equal(first, grid(images))
    for out in ("again.bmp", "AGAIN.PNG"):
        np.testing.assert_array_equal(run(path, "--n", 5, "--out", out, out=out), first)
    assert (run(path, "--n", 5, "--seed", 1) != first).any() and (run(path, "--n", 5, "--replica", 1) != first).any()
    np.testing.assert_array_equal(run(path), grid(genlab.sample(path)))
    assert len(genlab.sample(path)) == 64


def test_many_images_are_drawn_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made = checkpoint(conditional="both")
    whole = Sampler(made).sample(11).astype(int)
    monkeypatch.setattr(sampling, "BATCH", 4)
    assert abs(Sampler(made).sample(11) - whole).max() <= 1  # sums in another order


def test_a_class_a_row_and_classes_in_turn(run: Any, saved: Any) -> None:
    made = checkpoint(conditional="both")
    sampler = Sampler(made)
    assert sampler.classes == CLASSES
    rows, in_turn = sampler.per_class(7).astype(int), sampler.sample(7)
    assert rows.shape == (3, 7, 32, 32, 1)
    for i in range(7):  # the same latents, each of one class
        assert abs(rows[i % 3, i] - in_turn[i]).max() <= 1
        assert abs(rows[(i + 1) % 3, i] - in_turn[i]).max() > 1
    picture = run(saved(made), "--per-class", "--n", 7)
    pictures = grid(sampler.per_class(7))
    np.testing.assert_array_equal(picture, labelled(sampler.per_class(7), CLASSES))
    assert run(saved(made), "--per-class").shape[1] - picture.shape[1] == 34  # eight columns
    other = run(saved(made), "--per-class", "--n", 7, "--seed", 1)
    np.testing.assert_array_equal(other[:, -pictures.shape[1] :], grid(sampler.per_class(7, seed=1)))
    assert (other != picture).any()


def test_from_one_latent_to_another(run: Any, saved: Any) -> None:
    made = checkpoint()
    sampler, generator = Sampler(made), genlab.load(made)["generator"]
    line, arc = (sampler.interpolate(2, 3, spherical=spherical).astype(int) for spherical in (False, True))
    assert line.shape == arc.shape == (2, 3, 32, 32, 1)
    ends = sampler.sample(4).reshape(2, 2, 32, 32, 1)
    for path in (line, arc):
        assert abs(path[:, [0, 2]] - ends).max() <= 1
    start, end = torch.randn(4, 6, generator=sampling.generator(0, "sampling")).view(2, 2, 6).unbind(1)
    middle = ((generator((start + end) / 2).detach() + 1) * 127.5).movedim(1, -1).numpy()
    assert abs(line[:, 1] - middle).max() <= 1 and abs(arc[:, 1] - middle).max() > 1
    line, arc = (sampler.interpolate(2, spherical=spherical) for spherical in (False, True))
    rows = np.stack((line[0], arc[0], line[1], arc[1]))
    picture = run(saved(made), "--interpolate", "--n", 2)
    np.testing.assert_array_equal(picture, labelled(rows, ["linear", "spherical"] * 2))
    assert run(saved(made), "--interpolate").shape[0] == 8 * 34 + 2
    assert (run(saved(made), "--interpolate", "--n", 2, "--seed", 1) != picture).any()


def test_one_class_on_the_way() -> None:
    made = checkpoint(conditional="generator")
    rows, ends = Sampler(made).interpolate(3, 2).astype(int), Sampler(made).per_class(6)
    for i in range(3):
        assert abs(rows[i] - ends[i, 2 * i : 2 * i + 2]).max() <= 1


def test_a_sweep_is_its_best_trial_and_a_trial_its_last_epoch(run: Any, make_sweep: Any) -> None:
    sweep = make_sweep(task="gan")
    for name, seed, objectives in (("0000", 0, (1.0, 3.0)), ("0001", 1, (2.5, 2.0))):
        sweep.trial(name)
        for epoch, objective in enumerate(objectives, 1):
            path = f"trials/{name}/epoch_{epoch:04d}-a"
            made, storage = checkpoint(seeds=(10 * seed + epoch,)), sweep.records.storage
            report = storage.write(f"{path}.report.safetensors", sweep.report(name, epoch).encode())
            state = storage.write(f"{path}.state.safetensors", made.encode())
            ends = "completed" if epoch == 2 else None
            sweep.records.append(
                "epoch", trial=name, epoch=epoch, report=report, state=state, objective=objective, ends=ends
            )
    folder = sweep.records.storage.url
    first = f"{folder}/trials/0001/epoch_0001-a.state.safetensors"
    for path, seed in ((folder, 12), (f"{folder}/trials/0000", 2), (f"{folder}/trials/0001", 12), (first, 11)):
        np.testing.assert_array_equal(run(path, "--n", 4), grid(genlab.sample(checkpoint(seeds=(seed,)), 4)))


def test_what_cannot_be_drawn_is_refused(run: Any, saved: Any, tmp_path: Path) -> None:
    path = saved(checkpoint())
    for words, why in (
        ((tmp_path / "nowhere",), "there is no folder"),
        ((tmp_path / "no.state.safetensors",), "there is no checkpoint"),
        ((tmp_path,), "holds no sweep"),
        ((path, "--n", 0), "--n is 0: it must be 1 or more"),
        ((path, "--replica", 1), "has 1 replicas: there is no number 1"),
        ((path, "--per-class"), "were trained without labels"),
        ((path, "--per-class", "--interpolate"), "give one of them"),
        ((path, "--out", "grid.pgn"), "no picture can be written with .pgn: did you mean .png"),
        ((path, "--out", "grid"), "no picture can be written with no ending: write grid.png"),
        ((path, "--out", "absent/grid.png"), "there is no folder absent"),
    ):
        assert why in run(*words, code=2)
    path.write_bytes(path.read_bytes()[:-9])
    assert "epoch_0001-a.state.safetensors is damaged, or no state" in run(path, code=2)


def test_a_task_that_draws_nothing_and_a_scripts_own_are_refused(run: Any, saved: Any, make_sweep: Any) -> None:
    said = run(saved(checkpoint(ClassifierTask)), code=2)
    assert "the task classifier draws no images from latents" in said
    own = Checkpoint("TinyConfig", "sweeps/mine.py", {}, {}, 1, [0], [State({}, {})])
    said = run(saved(own), code=2)
    assert "the task TinyConfig, which sweeps/mine.py defines, and this command runs no script" in said
    assert "genlab.sample('" in said and "task=TheTask" in said
    with pytest.raises(GenlabError, match=r"TinyConfig, which sweeps/mine\.py defines.*task=TheTask"):
        genlab.sample(own)
    sweep = make_sweep(task="gan")
    assert "ran to its end" in run(sweep.records.storage.url, code=2)
    sweep.trial("0000")
    assert "trial 0000 has no epoch: it has none yet" in run(f"{sweep.records.storage.url}/trials/0000", code=2)


def test_a_scripts_own_task_is_sampled_in_python() -> None:
    made = checkpoint(Own)
    np.testing.assert_array_equal(genlab.sample(made, 3, task=Own), genlab.sample(checkpoint(), 3))
    for ask in (lambda: Sampler(made, task=Own).sample(0), lambda: Sampler(made, task=Own).interpolate(1, 1)):
        with pytest.raises(GenlabError, match=r"n is 0|steps is 1"):
            ask()
