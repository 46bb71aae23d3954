"""The tracking server's configuration in `mlflow/`: who reaches it, and who is asked for a password."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import yaml
from made_sweeps import free_port, migrated, wait_for  # noqa: F401 - a fixture

FOLDER = Path(__file__).parents[1] / "mlflow"
README = (FOLDER / "README.md").read_text()
SERVICES: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
PASSWORDS = "--app-name basic-auth"


def blocks(heading: str) -> str:
    """What the README's section has a person type."""
    section = README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return "\n".join(re.findall(r"^```\n(.+?)^```$", section, re.MULTILINE | re.DOTALL)).replace("\\\n", "")


def test_what_starts_by_itself_is_reached_from_this_machine_alone() -> None:
    by_default = {name: one for name, one in SERVICES.items() if not one.get("profiles")}
    assert by_default
    for name, service in by_default.items():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name
    for line in blocks("For this machine").splitlines():
        assert "mlflow server" not in line or "--host 127.0.0.1" in line


def test_what_others_reach_asks_them_for_passwords_and_says_so() -> None:
    opened = {name: one for name, one in SERVICES.items() if not all(p.startswith("127.") for p in one["ports"])}
    assert opened, "a server for a cluster must be reached"
    for name, service in opened.items():
        assert PASSWORDS in service["command"], name
        assert "secrets.env" in [one["path"] for one in service["env_file"] if isinstance(one, dict)], name
        assert service["working_dir"] == service["volumes"][0].partition(":")[2], "a new container would lose the users"
        assert f"mlflow/compose.yaml up --build --detach {name}" in blocks("For others, with passwords")
    typed = [line for line in README.replace("\\\n", "").splitlines() if "mlflow server" in line]
    assert any("--host 0.0.0.0" in line for line in typed)
    assert all(PASSWORDS in line for line in typed if "--host 0.0.0.0" in line)


def test_the_folder_holds_no_python() -> None:
    """It would hide the package."""
    assert {file.name for file in FOLDER.iterdir()} - {"secrets.env"} == {"README.md", "compose.yaml", "server.env"}


def test_a_shell_that_reads_the_settings_starts_a_server_for_this_machine(
    migrated: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    """With other paths, and another port."""
    port = free_port()
    shutil.copy(migrated, tmp_path / "mlflow.db")
    settings = (FOLDER / "server.env").read_text().replace("/mlflow-data", str(tmp_path))
    assert "MLFLOW_PORT=5000\n" in settings
    (tmp_path / "server.env").write_text(settings.replace("MLFLOW_PORT=5000\n", f"MLFLOW_PORT={port}\n"))
    command = f"set -a; . {tmp_path}/server.env; set +a; exec {sys.executable} -m mlflow server --workers 1"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    with open(tmp_path / "log", "w") as log:
        server = subprocess.Popen(["bash", "-c", command], cwd=tmp_path, env=environment, stdout=log, stderr=log)

    def listening() -> set[str]:
        assert server.poll() is None, (tmp_path / "log").read_text()
        processes = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        sockets = [socket for one in processes for socket in one.net_connections("inet")]
        return {socket.laddr[0] for socket in sockets if socket.status == psutil.CONN_LISTEN}

    try:
        wait_for(listening)
        assert listening() == {"127.0.0.1"}
        assert urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=60).status == 200
    finally:
        for process in psutil.Process(server.pid).children(recursive=True):
            process.terminate()
        server.terminate()
        server.wait(60)
