"""What may be named as a checkpoint or a file of weights: refused before anything runs, with what to write."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from tiny_tasks import Tiny, TinyConfig

from genlab.tasks import ClassifierConfig, FromCheckpoint, FromTask, FromWeights
from genlab.tasks.prepared import problem

KINDS = pytest.mark.parametrize("kind", [FromCheckpoint, FromWeights])


@KINDS
@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "has an empty path: name a file, or leave it out of what prepare() returns where there is none"),
        ("  ", "has an empty path: "),
        ("judge.pth", "is 'judge.pth': write '{cwd}/judge.pth', lanes run elsewhere"),
        ("./a/../judge.pth", "is './a/../judge.pth': write '{cwd}/judge.pth', lanes run elsewhere"),
        ("~/judge.pth", "is '~/judge.pth': write '{home}/judge.pth', lanes run elsewhere"),
        (
            "nosuch://bucket/judge.pth",
            "is 'nosuch://bucket/judge.pth', and nosuch:// cannot be read (Protocol not known",
        ),
        ("://judge.pth", "is '://judge.pth', and :// cannot be read ("),
        ("simplecache::nosuch://x/y", "nosuch:// cannot be read ("),
        (None, "is made of None: write a text, an absolute path or a URL"),
        (Path("/judge.pth"), "is made of a PosixPath: write a text"),
        (3, "is made of the int 3: write a text"),
    ],
)
def test_a_path_that_no_lane_could_read_is_refused_with_what_to_write(
    kind: Any, path: Any, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    expected = why.format(cwd=os.getcwd(), home=tmp_path / "home")
    assert (problem(kind(path)) or "").find(expected) >= 0


@KINDS
def test_a_folder_is_refused_with_a_file_in_it(kind: Any, tmp_path: Path) -> None:
    told = f"is '{tmp_path}', which is a folder: name a file in it"
    assert problem(kind(str(tmp_path))) == told
    for trial in ("0000", "0001"):
        (tmp_path / "trials" / trial).mkdir(parents=True)
        for name in (
            "epoch_0001-a.state.safetensors",
            "epoch_0002-a.state.safetensors",
            "epoch_0003-a.report.safetensors",
        ):
            (tmp_path / "trials" / trial / name).touch()
    last = f"{tmp_path}/trials/0001/epoch_0002-a.state.safetensors"
    odd = tmp_path / "run [1]"  # not a pattern
    odd.mkdir()
    (odd / "epoch_0001-a.state.safetensors").touch()
    assert (problem(kind(str(odd))) or "").endswith(f", such as '{odd}/epoch_0001-a.state.safetensors'")
    assert problem(kind(str(tmp_path))) == f"{told}, such as '{last}'"  # of a sweep
    assert problem(kind(f"{tmp_path}/trials/0001")) == f"is '{tmp_path}/trials/0001', which is a folder: " + (
        f"name a file in it, such as '{last}'"
    )
    assert problem(kind(last)) is None and problem(kind(f"{tmp_path}/absent")) is None  # another machine may have it


@KINDS
@pytest.mark.parametrize("path", ["memory://bucket/x", "file:///x", "simplecache::memory://x/y", "/x y/z"])
def test_what_may_be_read_is_not_refused(kind: Any, path: str) -> None:
    assert problem(kind(path)) is None


@pytest.mark.parametrize(("task", "what"), [("vae", "the str 'vae'"), (ClassifierConfig(), "a ClassifierConfig")])
def test_the_task_is_a_class(task: Any, what: str) -> None:
    for source in (FromCheckpoint("/x", task), FromTask(ClassifierConfig(), task)):
        assert problem(source) == f"has {what} as its task: give the class"


def test_a_task_has_its_own_config() -> None:
    assert problem(FromTask(ClassifierConfig(), Tiny)) == (
        "has the task Tiny, whose config is TinyConfig, and is made of ClassifierConfig(...)"
    )
    assert problem(FromTask(TinyConfig(), Tiny)) is None and problem(FromTask(ClassifierConfig())) is None
    assert problem(FromTask(TinyConfig())) == "names no task: write FromTask(config, TheTask) for TinyConfig"
    nothing: Any = None
    assert problem(FromTask(nothing)) == "is made of None: write FromTask(TheConfig(...))"
