"""The templates in `cluster/`: Ray takes them as they are, and `ray submit` finds genlab on the nodes."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
LAUNCHED = ("aws", "gcp", "on-prem")
TOKEN = "~/.ray/auth_token"


def template(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / "cluster" / f"{name}.yaml").read_text())


@pytest.mark.parametrize("name", LAUNCHED)
def test_ray_accepts_the_template(name: str) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(copy.deepcopy(template(name)))
    validate_config(prepared)
    assert prepared["max_workers"] >= 2
    assert prepared["head_node_type"] in prepared["available_node_types"]


def test_a_misspelt_key_would_be_noticed() -> None:
    import jsonschema
    from ray.autoscaler._private.util import prepare_config, validate_config

    wrong = template("aws") | {"file_mount": {}}
    with pytest.raises(jsonschema.ValidationError, match="file_mount"):
        validate_config(prepare_config(wrong))


@pytest.mark.parametrize("name", LAUNCHED)
def test_the_nodes_get_genlab_and_nothing_that_hides_it(name: str) -> None:
    config = template(name)
    mounts = {remote: local for remote, local in config["file_mounts"].items() if remote != TOKEN}
    for remote, local in mounts.items():
        assert remote.startswith("~/genlab-src/"), "in ~ a folder `genlab` would hide the package"
        assert (ROOT / local).exists()
    # what building the package needs
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"genlab", "pyproject.toml", project["readme"]} <= set(mounts.values())
    assert "uv pip install --python ~/genlab-env/bin/python" in "\n".join(config["setup_commands"])


def lines_of_bash(config: dict[str, Any], home: Path, before: str | None) -> list[str]:
    """What `~/.bashrc` is after the template's setup, which finds `before` there. Only the commands that write to it or
    to the token's folder are run; the others install genlab."""
    (home / ".ray").mkdir(exist_ok=True)
    (home / ".ray" / "auth_token").write_text("token")
    (home / ".ray" / "auth_token").chmod(0o644)
    if before is not None:
        (home / ".bashrc").write_text(before)
    for command in config["setup_commands"]:
        if "uv" not in command:
            subprocess.run(["bash", "-c", command], env={"HOME": str(home), "PATH": os.defpath}, check=True)
    return (home / ".bashrc").read_text().splitlines()


@pytest.mark.parametrize("name", LAUNCHED)
@pytest.mark.parametrize(
    ("before", "kept"),
    [
        (None, []),
        ("alias ll='ls -l'\n", ["alias ll='ls -l'"]),
        # as the templates wrote it until tokens became the default
        (
            'a=1\nexport PATH="$HOME/genlab-env/bin:$PATH" RAY_AUTH_MODE=disabled\nb=$a  # not genlab-env\n',
            ["a=1", "b=$a  # not genlab-env"],
        ),
    ],
)
def test_no_later_sweep_of_the_account_is_open(name: str, before: str | None, kept: list[str], tmp_path: Path) -> None:
    config = template(name)
    for _ in range(2):  # `ray up` may come again
        lines = lines_of_bash(config, tmp_path, before)
        assert lines[:-1] == kept, "what else is in it stays"
        before = None
    told = subprocess.run(
        ["bash", "-c", f"{lines[-1]}; echo $PATH; echo $RAY_AUTH_MODE"],
        env={"HOME": "/home/me", "PATH": "/bin"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout.splitlines() == ["/home/me/genlab-env/bin:/bin", "token"], "`ray submit` runs plain `python`"
    assert (tmp_path / ".ray").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / ".ray" / "auth_token").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", LAUNCHED)
def test_a_node_without_the_token_does_not_start(name: str) -> None:
    """Ray itself asks for one only where a head finds one, and a worker never does."""
    config = template(name)
    assert config["file_mounts"][TOKEN] == TOKEN
    for start in ("head_start_ray_commands", "worker_start_ray_commands"):
        (line,) = [line for line in config[start] if "ray start" in line]
        assert "; RAY_AUTH_MODE=token " in line and line.count("ray start") == 1
    assert "RAY_AUTH_MODE=disabled" not in (ROOT / "cluster" / f"{name}.yaml").read_text()


def test_the_readme_makes_a_token_that_nobody_else_reads(tmp_path: Path) -> None:
    """By the command between the copy and `ray up`; `uv run` is left to the environment of these tests."""
    section = (ROOT / "README.md").read_text().partition("\n## A cluster\n")[2].partition("\n## ")[0]
    (command,) = [line for line in section.splitlines() if "get-auth-token" in line]
    ray = Path(sys.executable).with_name("ray")
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        ["bash", "-c", "umask 022; " + command.replace("uv run ray", str(ray))],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    token = tmp_path / ".ray" / "auth_token"
    assert len(token.read_text()) == 64 and token.stat().st_mode & 0o777 == 0o600
    assert token.read_text() not in done.stdout + done.stderr, "nor whoever looks at the screen"


def test_on_premises_workers_are_started() -> None:
    config = template("on-prem")
    assert "available_node_types" not in config and "head_node_type" not in config
    assert any("RAY_enable_autoscaler_v2=0 ray start --head" in line for line in config["head_start_ray_commands"])


def test_the_kuberay_manifest_names_the_projects_ray() -> None:
    documents = list(yaml.safe_load_all((ROOT / "cluster" / "kuberay.yaml").read_text()))
    cluster, claim = documents
    assert (cluster["apiVersion"], cluster["kind"]) == ("ray.io/v1", "RayCluster")
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (ray,) = [one for one in map(Requirement, dependencies) if one.name == "ray"]
    assert cluster["spec"]["authOptions"] == {"mode": "token"}
    version = cluster["spec"]["rayVersion"]
    assert ray.specifier.contains(version)
    assert f"rayproject/ray:{version}-py311" in (ROOT / "cluster" / "README.md").read_text()
    pods = [cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]]
    for pod in (group["template"]["spec"] for group in pods):
        named = {volume["name"] for volume in pod["volumes"]}
        assert "env" not in pod["containers"][0], "the operator names mode and token to each container"
        mounted = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
        assert set(mounted) <= named
        assert mounted["shm"] == "/dev/shm"
        assert any(
            v.get("persistentVolumeClaim", {}).get("claimName") == claim["metadata"]["name"] for v in pod["volumes"]
        )
