"""Ray on the hosts, brought up as the README says, and sweeps on it."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hosts import Hosts, copy_uv_settings, poll, run

from genlab.tracking.records import Records
from genlab.tracking.storage import Storage

ROOT = Path(__file__).parent.parent.parent
PROJECT = "/root/project"  # on the workstation: the project, as a person has cloned it
STORAGE = "/nfs/genlab"  # as the README has it
TOKEN = "~/.ray/auth_token"
PARTS = ("genlab", "sweeps", "cluster", "tests", "pyproject.toml", "README.md")


def readme_commands() -> list[str]:
    """The commands of the README's section about clusters that bring one up and run a sweep on it."""
    section = (ROOT / "README.md").read_text().partition("\n## A cluster\n")[2].partition("\n## ")[0]
    (block,) = re.findall(r"^```\n(cp cluster/on-prem.+?)^```$", section, re.MULTILINE | re.DOTALL)
    return block.splitlines()


def edited_template(hosts: Hosts) -> str:
    """The template for machines that ssh reaches, with its lines to edit filled in as its comments ask."""
    own = {
        "head_ip": hosts.head.address,
        "worker_ips": f"[{hosts.worker.address}]",
        "ssh_user": "root",
        "ssh_private_key": "~/.ssh/id_ed25519",
    }
    lines = (ROOT / "cluster" / "on-prem.yaml").read_text().splitlines()
    for i, line in enumerate(lines):
        if "# EDIT" in line:
            key = line.strip().partition(":")[0]
            lines[i] = f"{line.partition(key)[0]}{key}: {own.pop(key)}"
    assert not own, f"the template has no line to edit for {sorted(own)}"
    return "\n".join(lines) + "\n"


def fill_cache(folder: Path, uv: Path, template: str) -> Path:
    """A cache of uv from which the template's installation needs no network: made by that very installation, in
    `folder` as a home. GENLAB_CLUSTER_CACHE names one that is kept from run to run."""
    kept = os.environ.get("GENLAB_CLUSTER_CACHE")
    cache = Path(kept).absolute() if kept else folder / "cache"
    (folder / ".local" / "bin").mkdir(parents=True)
    shutil.copy(uv, folder / ".local" / "bin" / "uv")
    copy_uv_settings(folder)
    for mounted, local in yaml.safe_load(template)["file_mounts"].items():
        target = folder / mounted.removeprefix("~/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if mounted == TOKEN:
            target.write_text("of nobody")  # the installation closes it, and does not read it
        else:
            _copy(ROOT / local, target)
    python = f"{sys.base_prefix}/bin{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"HOME": str(folder), "UV_CACHE_DIR": str(cache), "PATH": python}
    for command in yaml.safe_load(template)["setup_commands"]:
        # a cache holds no bytecode, and compiling takes most of an installation's time
        command = command.replace("UV_COMPILE_BYTECODE=1", "UV_COMPILE_BYTECODE=0")
        done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"the template's installation fails here: {command}\n{done.stdout}{done.stderr}")
    shutil.rmtree(folder / "genlab-env")
    return cache


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


class RayCluster:
    """A cluster that `ray up` makes; a person sits at the workstation."""

    def __init__(self, hosts: Hosts) -> None:
        """Lay out what the hosts must have before: uv's cache, since they reach no registry, and the project."""
        self.hosts = hosts
        self.storage = Storage(str(hosts.shared / "genlab"))
        self.told: list[str] = []  # what was done, how long it took, and what came of it
        self.submitted = 0
        self.copy, self.generate, self.up, self.submit = readme_commands()
        template = edited_template(hosts)
        with self.timed("uv's cache filled"):
            cache = fill_cache(hosts.folder / "installed", hosts.head.home / ".local" / "bin" / "uv", template)
            for host in (hosts.head, hosts.worker):
                own = host.home / ".cache" / "uv"
                own.parent.mkdir()
                # links, where they can be made: what is in a cache is never changed in place
                if subprocess.run(["cp", "-al", cache, own], stderr=subprocess.DEVNULL).returncode:
                    shutil.rmtree(own, ignore_errors=True)
                    run("cp", "-a", cache, own)
        project = hosts.workstation.home / "project"
        project.mkdir()
        for part in PARTS:
            _copy(ROOT / part, project / part)
        for command in (self.copy, self.generate):
            with self.person(command) as done:
                assert done.wait() == 0, command
        (project / "cluster.yaml").write_text(template)

    @contextlib.contextmanager
    def timed(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.told.append(f"{time.monotonic() - began:.0f} s: {what}")

    def person(self, command: str, **keywords: Any) -> subprocess.Popen[str]:
        """Start what a person types in the project's folder. `uv run` finds the environment of these tests."""
        environment = {"UV_PROJECT_ENVIRONMENT": sys.prefix, "UV_NO_SYNC": "1", "UV_OFFLINE": "1"}
        return self.hosts.workstation.popen(command, PROJECT, env=environment, **keywords)

    def launch(self) -> None:
        """`ray up`, until both hosts have joined."""
        terminal, end = pty.openpty()  # it asks whether to go on, and asks nobody but a person
        log = self.hosts.folder / "up.log"
        with self.timed("ray up"), open(log, "w") as file:
            launcher = self.person(self.up, stdin=end, stdout=file, stderr=file)
            os.write(terminal, b"y\n")
            launcher.wait()
        os.close(terminal)
        os.close(end)
        if launcher.returncode:
            raise RuntimeError(f"`{self.up}` failed:\n{log.read_text()[-5000:]}")
        with self.timed("the worker joined after it"):
            self.wait_until_whole()

    def nodes(self) -> dict[str, float]:
        """The CPUs of each host that Ray holds for alive."""
        code = "import json, ray; ray.init(address='auto', logging_level='ERROR', log_to_driver=False); "
        code += "nodes = [node for node in ray.nodes() if node['Alive']]; "
        code += "print(json.dumps({node['NodeManagerHostname']: node['Resources']['CPU'] for node in nodes}))"
        command = f'RAY_AUTH_MODE=token genlab-env/bin/python -c "{code}"'
        asked = self.hosts.head.popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        with asked:
            said, errors = asked.communicate()
        assert asked.returncode == 0, errors
        return json.loads(said.splitlines()[0])  # Ray may have something to say as it goes

    def wait_until_whole(self, seconds: float = 600.0) -> None:
        """Until Ray has both hosts."""
        both = (self.hosts.head, self.hosts.worker)

        def joined() -> bool:
            # asking Ray takes seconds of a CPU
            there = all(any("/raylet " in command for command in host.processes().values()) for host in both)
            return there and set(self.nodes()) == {host.name for host in both}

        try:
            poll("both hosts have joined Ray", joined, seconds, pause=2)
        except TimeoutError as late:
            command = "tail -n 40 /tmp/ray/session_latest/logs/monitor.out"
            with self.hosts.head.popen(command, stdout=subprocess.PIPE) as asked:
                raise TimeoutError(f"{late}; Ray's autoscaler says:\n{asked.communicate()[0]}") from None

    def make_whole(self) -> None:
        """Bring up hosts that are down, and the network, and wait until both have joined."""
        for host in (self.hosts.head, self.hosts.worker):
            if host.is_up():
                self.hosts.mend(host)
            else:
                self.hosts.start(host)
        with self.timed("both hosts had joined again"):
            self.wait_until_whole()

    def sweep(self, options: str, script: str = "sweeps/lsgan.py") -> Submitted:
        """Start the README's command with these options behind it."""
        self.submitted += 1
        log = self.hosts.folder / f"sweep-{self.submitted}.log"
        command = self.submit.replace("sweeps/lsgan.py", script)
        known = set(Records.sweeps(self.storage))
        with open(log, "w") as file:
            process = self.person(f"{command} {options}", stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        return Submitted(self, process, script, log, known)

    def ranks(self) -> dict[str, int]:
        """How many ranks of lanes run on each host, by its processes."""
        return {host.name: list(host.processes().values()).count("ray::Worker") for host in self.hosts.all}


class Submitted:
    """A sweep that `ray submit` runs."""

    def __init__(
        self, cluster: RayCluster, process: subprocess.Popen[str], script: str, log: Path, known: set[str]
    ) -> None:
        """
        Args:
            known: the sweeps that there were before.
        """
        self.cluster, self.process, self.script, self.log, self.known = cluster, process, script, log, known

    def __enter__(self) -> Submitted:
        return self

    def __exit__(self, *_: object) -> None:
        """The sweep ends here, with whatever it has on the head and the workstation."""
        if self.process.poll() is None:
            script = Path(self.script).name
            for host in (self.cluster.hosts.workstation, self.cluster.hosts.head):
                for process, command in host.processes().items():
                    if script in command:
                        process.kill()
            self.process.kill()
        self.process.wait()

    def said(self) -> str:
        """What the person has seen so far."""
        return self.log.read_text()

    def records(self) -> Records | None:
        """What it has recorded; None while there is nothing."""
        storage = self.cluster.storage
        names = [name for name in Records.sweeps(storage) if name not in self.known]
        return Records.open(storage, names[-1]) if names else None

    def until(self, what: str, condition: Any, seconds: float = 300.0) -> Any:
        """The first true value of `condition()` while the sweep goes on."""

        def look() -> Any:
            value = condition()
            assert value or self.process.poll() is None, f"the sweep ended before this: {what}\n{self.said()}"
            return value

        return poll(what, look, seconds)

    def finish(self, seconds: float = 600.0) -> tuple[int, Records]:
        """Wait for its end; its exit code and its records."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"the sweep has not ended after {seconds:.0f} s:\n{self.said()}") from None
        records = self.records()
        assert records is not None, self.said()
        return code, records
