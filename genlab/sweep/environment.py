"""What a sweep ran on, as flat text: for the manifest, and as tags of MLflow's runs."""

from __future__ import annotations

import getpass
import importlib.metadata
import os
import platform
import socket
import subprocess
import sys

from genlab.tracking.address import shown

PACKAGES = ("genlab", "torch", "torchvision", "ray", "optuna", "mlflow", "numpy")


def environment(script: str | None) -> dict[str, str]:
    """Versions, host, user, the script, and the git commit of the folder that holds it."""
    found = {
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "command": "main(SWEEP)"
        if script is None
        else " ".join([os.path.basename(sys.argv[0]), *map(shown, sys.argv[1:])]),
    }
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    try:
        found["user"] = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        found["user"] = str(os.getuid())
    if script is not None:
        found["source"] = os.path.basename(script)
        folder = os.path.dirname(os.path.abspath(script))
        commit = _git(folder, "rev-parse", "HEAD")
        changes = _git(folder, "status", "--porcelain")
        if commit and changes is not None:
            found |= {"git_commit": commit, "git_dirty": str(bool(changes)).lower()}
    return found


def _git(folder: str, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
