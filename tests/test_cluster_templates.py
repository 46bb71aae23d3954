"""The templates in `cluster/`: Ray takes them as they are, and `ray submit` finds genlab on the nodes."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
LAUNCHED = ("aws", "gcp", "on-prem")


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
    mounts = config["file_mounts"]
    for remote, local in mounts.items():
        assert remote.startswith("~/genlab-src/"), "in ~ a folder `genlab` would hide the package"
        assert (ROOT / local).exists()
    # what building the package needs
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"genlab", "pyproject.toml", project["readme"]} <= set(mounts.values())
    setup = "\n".join(config["setup_commands"])
    assert "uv pip install --python ~/genlab-env/bin/python" in setup
    assert 'PATH="$HOME/genlab-env/bin:$PATH"' in setup, "`ray submit` runs plain `python`"
    assert "RAY_AUTH_MODE=" in setup


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
    version = cluster["spec"]["rayVersion"]
    assert ray.specifier.contains(version)
    assert f"rayproject/ray:{version}-py311" in (ROOT / "cluster" / "README.md").read_text()
    pods = [cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]]
    for pod in (group["template"]["spec"] for group in pods):
        named = {volume["name"] for volume in pod["volumes"]}
        mounted = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
        assert set(mounted) <= named
        assert mounted["shm"] == "/dev/shm"
        assert any(
            v.get("persistentVolumeClaim", {}).get("claimName") == claim["metadata"]["name"] for v in pod["volumes"]
        )
