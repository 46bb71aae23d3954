"""What a sweep notes of where it ran, and how it names commands."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from genlab.sweep.command import _called
from genlab.sweep.environment import environment


@pytest.fixture(autouse=True)
def git_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not as the user has set it up, who may sign commits; nor on the repository whose hook runs these tests."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, os.devnull)


def git(folder: Path, *words: str) -> str:
    own = ["git", "-C", str(folder), "-c", "user.name=me", "-c", "user.email=me@host"]
    return subprocess.run([*own, *words], check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_is_that_of_the_scripts_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    for folder in (project, elsewhere):
        folder.mkdir()
        git(folder, "init", "-q")
        git(folder, "commit", "-q", "--allow-empty", "-m", str(folder))
    script = project / "mine.py"
    script.write_text("")
    git(project, "add", ".")
    git(project, "commit", "-q", "-m", "a script")
    monkeypatch.chdir(elsewhere)
    found = environment(str(script))
    assert (found["source"], found["git_commit"]) == ("mine.py", git(project, "rev-parse", "HEAD"))
    assert found["git_dirty"] == "false"
    script.write_text("changed")
    assert environment(str(script))["git_dirty"] == "true"
    assert "git_commit" in environment(os.path.relpath(script))


def test_without_git_or_a_script_nothing_is_said_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    found = environment(str(tmp_path / "mine.py"))
    assert found["source"] == "mine.py" and not {"git_commit", "git_dirty"} & found.keys()
    assert not {"source", "git_commit"} & environment(None).keys()
    monkeypatch.setenv("PATH", "")
    assert environment(str(tmp_path / "mine.py"))["source"] == "mine.py"


def test_versions_the_user_and_the_command_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/far/away/lsgan.py", "--tracking-uri", "http://me:secret@host/", "--grid"])
    monkeypatch.setenv("LOGNAME", "somebody")
    found = environment("lsgan.py")
    assert found["command"] == "lsgan.py --tracking-uri http://host/ --grid"
    assert environment(None)["command"] == "main(SWEEP)"  # in a notebook, whose arguments are the kernel's
    assert found["torch"] == version("torch") and found["ray"] == version("ray") and found["genlab"]
    assert found["user"] == "somebody"

    def not_installed(package: str) -> str:
        if package == "torchvision":
            raise PackageNotFoundError(package)
        return version(package)

    monkeypatch.setattr("genlab.sweep.environment.importlib.metadata.version", not_installed)
    assert found.keys() - environment("lsgan.py").keys() == {"torchvision"}

    def nobody() -> str:
        raise KeyError("no such user")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert environment(None)["user"] == str(os.getuid())


@pytest.mark.parametrize(
    ("script", "where", "uv", "called"),
    [
        ("/project/sweeps/lsgan.py", "/project", False, "python sweeps/lsgan.py"),
        ("/project/sweeps/lsgan.py", "/project", True, "uv run sweeps/lsgan.py"),
        ("/project/my sweeps/a.py", "/project", True, "uv run 'my sweeps/a.py'"),
        ("/project/a.py", "/home/somebody/far/away", True, "uv run /project/a.py"),
        (None, "/project", True, "main(SWEEP) with"),
    ],
)
def test_a_script_is_called_as_from_where_the_user_is(
    monkeypatch: pytest.MonkeyPatch, script: str | None, where: str, uv: bool, called: str
) -> None:
    monkeypatch.setattr(os, "getcwd", lambda: where)
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)
    if uv:
        monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")
    assert _called(script) == called
