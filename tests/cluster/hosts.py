"""Hosts on this machine, for tests of a cluster: each is a set of Linux namespaces with a sshd of its own.

A host has its own name, address, processes, `/root`, `/tmp`, `/run` and `/dev/shm`. All hosts share the folder `/nfs`;
the rest of the machine is there to be read. They are joined by a bridge in the workstation's network. Of all this the
machine itself has some processes and one folder. The processes die with the one that made them, however that ends, and
mounts and networks go with the processes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

NET = "10.77.0"
PROGRAMS = {
    "ip": "iproute2",
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "rsync": "rsync",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "uv": "uv",
}
REGISTRY = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")
SEARCHED = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))

# $1 folder of the host, $2 its name, $3 the shared folder; what follows are folders to be seen at their own paths
START = r"""
set -eu
folder=$1 name=$2 shared=$3; shift 3
hostname "$name"
root="$folder/root"
mount -t tmpfs root "$root"
for path in /*; do
  if [ -L "$path" ]; then
    cp -P "$path" "$root$path"
  elif [ -d "$path" ]; then
    mkdir "$root$path"
    case $path in
      /root) mount --bind "$folder/home" "$root/root" ;;
      /tmp|/run) mount -t tmpfs own "$root$path" ;;
      /proc|/sys|/dev) mount --rbind "$path" "$root$path" ;;
      *) mount --rbind "$path" "$root$path"; mount -o remount,ro,bind "$root$path" ;;
    esac
  fi
done
mkdir -p "$root/nfs" "$root/run/sshd"
mount --bind "$shared" "$root/nfs"
mount -t tmpfs -o size=4g own "$root/dev/shm"
for file in hosts resolv.conf shadow; do
  [ ! -e "$root/etc/$file" ] || mount --bind "$folder/etc/$file" "$root/etc/$file"
done
for path in "$@"; do
  [ "$path" -ef "$root$path" ] || { mkdir -p "$root$path"; mount --bind "$path" "$root$path"; }
done
exec chroot "$root" "$SSHD" -D -e -f /root/sshd/config
"""


def lacking() -> str | None:
    """What this machine lacks for hosts, in words; None if nothing."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "hosts on one machine need Linux, and root"
    for program, package in PROGRAMS.items():
        if shutil.which(program, path=SEARCHED) is None:
            return f"hosts on one machine need the program {program} (package {package})"
    if sys.version_info[:2] != (3, 11):
        return "the cluster's template asks for Python 3.11, and hosts on one machine have the one that runs the tests"
    tried = subprocess.run([*_namespaces(), "true"], capture_output=True, text=True)
    return f"namespaces are forbidden here: {tried.stderr.strip()}" if tried.returncode else None


def _namespaces() -> list[str]:
    """The beginning of a command that runs in namespaces of its own and dies with this process."""
    own = ["--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc"]
    return ["setpriv", "--pdeathsig", "KILL", "unshare", *own, "--"]


def run(*command: str | Path) -> str:
    """What a short command prints.

    Raises:
        RuntimeError: it failed.
    """
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def poll(what: str, condition: Any, seconds: float, pause: float = 0.2) -> Any:
    """The first true value of `condition()`, asked every `pause` seconds."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"not after {seconds:.0f} s: {what}")
        time.sleep(pause)
    return value


class Host:
    """One host. Its home is kept while it is down."""

    def __init__(self, folder: Path, name: str, number: int, shared: Path, visible: tuple[str, ...]) -> None:
        """
        Args:
            folder: where its home lies.
            number: the last part of its address.
            shared: the folder that is `/nfs` on all hosts.
            visible: folders of this machine that are to be seen at their own path, also below `/root` or `/tmp`.
        """
        self.folder, self.name, self.number, self.shared, self.visible = folder, name, number, shared, visible
        self.address, self.port = f"{NET}.{number}", f"port{number}"
        self.home = folder / "home"
        self.process: subprocess.Popen[bytes] | None = None
        self.pid = 0  # of its first process, as this machine counts
        for part in ("root", "etc", "home/.ssh", "home/sshd", "home/.local/bin"):
            (folder / part).mkdir(parents=True)
        for file in Path("/etc/skel").glob(".*"):
            if file.is_file():
                shutil.copy(file, self.home)
        (self.home / ".bashrc").touch()
        copy_uv_settings(self.home)
        # the host's own name is a loopback address, as Debian and Ubuntu write it; no name server answers
        (folder / "etc" / "hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {name}\n")
        (folder / "etc" / "resolv.conf").write_text("")
        (folder / "etc" / "shadow").write_text("root:*:19000:0:99999:7:::\n")  # without a password, and not locked
        (self.home / ".ssh").chmod(0o700)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.home / "sshd" / "key")
        config = ("Port 22", "HostKey /root/sshd/key", "PermitRootLogin yes", "PasswordAuthentication no")
        config += ("PidFile none", "UsePAM no", "StrictModes no", "Subsystem sftp internal-sftp")
        # one that tried to reach a registry would wait for it; uv's cache is kept by the registry's address
        uv = {"UV_OFFLINE": "1"} | {name: os.environ[name] for name in REGISTRY if name in os.environ}
        config += ("SetEnv " + " ".join(f'{name}="{value}"' for name, value in uv.items()),)
        (self.home / "sshd" / "config").write_text("\n".join(config) + "\n")

    def start(self) -> None:
        """Bring it up, without a network."""
        sshd = shutil.which("sshd", path=SEARCHED)
        script = ["bash", "-c", START, "bash", str(self.folder), self.name, str(self.shared), *self.visible]
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "SSHD": str(sshd)}
        with open(self.folder / "sshd.log", "ab") as log:
            self.process = subprocess.Popen(
                [*_namespaces(), *script], env=environment, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self.pid = poll(f"{self.name} starts", self._first_process, 30)
        except TimeoutError:
            raise RuntimeError(f"{self.name} does not start:\n{(self.folder / 'sshd.log').read_text()}") from None

    def _first_process(self) -> int:
        """The host's sshd, once the script has become it."""
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} does not start:\n{(self.folder / 'sshd.log').read_text()}")
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.process.pid).children():
                if child.name() == "sshd":
                    return child.pid
        return 0

    def is_up(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def in_network(self, *command: str) -> str:
        """What a command of this machine prints that sees the host's network."""
        return run("nsenter", "--target", str(self.pid), "--net", "--", *command)

    def popen(self, command: str, folder: str = "/root", **keywords: Any) -> subprocess.Popen[str]:
        """Start what a person types on this host."""
        inside = ["nsenter", "--target", str(self.pid), "--all", "--root", "--wd", "--"]
        path = "/root/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        environment = {"HOME": "/root", "PATH": path, "LANG": "C.UTF-8", "TERM": "dumb"} | keywords.pop("env", {})
        command = f"cd {folder} && {command}"
        return subprocess.Popen([*inside, "bash", "-c", command], env=environment, text=True, **keywords)

    def processes(self) -> dict[psutil.Process, str]:
        """All its processes, with their command lines."""
        found = {}
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    found[process] = " ".join(process.cmdline()).strip()
        return found

    def kill(self) -> None:
        """End all of its processes at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            poll(f"{self.name} is gone", lambda: not psutil.pid_exists(self.pid), 30)
            self.process, self.pid = None, 0


class Hosts:
    """A workstation, from which a person works, a head and a worker, in one network."""

    def __init__(self, folder: Path) -> None:
        """Hosts with their homes in `folder`, none of them up. Who works on one reaches the others by a key."""
        self.folder, self.shared = folder, folder / "nfs"
        self.shared.mkdir()
        python, tools = sys.base_prefix, sys.prefix
        self.workstation = Host(folder / "workstation", "workstation", 1, self.shared, (python, tools))
        self.head = Host(folder / "head", "head", 11, self.shared, (python,))
        self.worker = Host(folder / "worker", "worker", 12, self.shared, (python,))
        self.all = (self.workstation, self.head, self.worker)
        key, uv = folder / "key", uv_program()
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "cluster", "-f", key)
        for host in self.all:
            shutil.copy(key, host.home / ".ssh" / "id_ed25519")
            shutil.copy(key.with_suffix(".pub"), host.home / ".ssh" / "authorized_keys")
            shutil.copy(uv, host.home / ".local" / "bin" / "uv")
            (host.home / ".local" / "bin" / "python3.11").symlink_to(f"{python}/bin/python3.11")

    def start(self, host: Host) -> None:
        """Bring a host up, and into the network."""
        host.start()
        bridge = self.workstation.in_network
        if host is self.workstation:
            bridge("ip", "link", "add", "bridge", "type", "bridge")
            device = "bridge"
        else:
            device = "eth0"
            with contextlib.suppress(RuntimeError):  # of one that died just now
                bridge("ip", "link", "delete", host.port)
            bridge("ip", "link", "add", host.port, "type", "veth", "peer", "name", device, "netns", str(host.pid))
            bridge("ip", "link", "set", host.port, "master", "bridge", "up")
        for words in (
            ("link", "set", "lo", "up"),
            ("address", "add", f"{host.address}/24", "dev", device),
            ("link", "set", device, "up"),
        ):
            host.in_network("ip", *words)
        if host is not self.workstation:
            host.in_network("ip", "route", "add", "default", "via", self.workstation.address)
        poll(f"ssh reaches {host.name}", lambda: self._answers(host), 30)

    def _answers(self, host: Host) -> bool:
        options = "-o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=5"
        with self.workstation.popen(f"ssh {options} root@{host.address} true", stderr=subprocess.DEVNULL) as tried:
            return tried.wait() == 0

    def cut(self, host: Host) -> None:
        """Take a host out of the network; nobody hears of it."""
        self.workstation.in_network("ip", "link", "set", host.port, "down")

    def mend(self, host: Host) -> None:
        """Put it back."""
        self.workstation.in_network("ip", "link", "set", host.port, "up")

    def lose(self, host: Host) -> None:
        """A host loses its power: no process of it says goodbye to anybody."""
        self.cut(host)
        host.kill()


@contextlib.contextmanager
def hosts_in(folder: Path) -> Iterator[Hosts]:
    """Hosts that are up, with their homes in a new `folder`; nothing of them stays, whatever happens."""
    folder.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        stack.callback(run, "rm", "-rf", folder)  # hundreds of thousands of files
        hosts = Hosts(folder)
        for host in hosts.all:
            stack.callback(host.kill)
            hosts.start(host)
        yield hosts


def uv_program() -> str:
    """The uv program itself, where what is on the path may be a script that finds it."""
    asked = ("python", "-c", "import os; print(os.environ['UV'])")
    return run("uv", "run", "--no-project", "--python", sys.executable, *asked).strip()


def copy_uv_settings(home: Path) -> None:
    """What this machine's user has told uv, such as a registry."""
    if (settings := Path.home() / ".config" / "uv").is_dir():
        shutil.copytree(settings, home / ".config" / "uv")


if __name__ == "__main__":  # `.ci/run` asks
    print(lacking() or "")
