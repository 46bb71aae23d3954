"""`.ci/run`, with stand-ins for the programs that it calls: its order, what it installs, and its last line."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci" / "run"
POLICY = "/usr/sbin/policy-rc.d"
LACKS = "hosts on one machine need the program sshd (package openssh-server)"
# each notes how it was called; what apt does is told by $APT, who one is by $USER_ID
STAND_INS = {
    "uv": """[ "$*" = "$FAILS" ] && exit 1
[ "$*" = "run python tests/cluster/hosts.py" ] && [ ! -e "$NOTES/sshd" ] && echo "$LACKS"
exit 0""",
    "id": 'echo "$USER_ID"',
    "timeout": 'shift 3; [ "$APT" = hangs ] && exit 124; exec "$@"',
    "apt-get": """cat "$NOTES/policy-rc.d" >> "$NOTES/policies"
case "$APT $*" in
  *" update") touch "$NOTES/updated" ;;
  offline*) printf 'E: first\\nE: cannot find it\\n' >&2; exit 100 ;;
  old*) [ -e "$NOTES/updated" ] && touch "$NOTES/sshd" ;;
  works*) touch "$NOTES/sshd" ;;
esac""",
}
BEFORE = ["sync", "run ruff check", "run ruff format --check", "run pyright"]
CLUSTER = "run pytest -m cluster tests/cluster"
ALWAYS = ["run pytest -m slow", "run pytest"]


class Ran:
    """What came of the script: its exit code, what it said, and what it called but for asking what is lacking."""

    def __init__(self, folder: Path, apt: str | None, **told: str) -> None:
        """
        Args:
            apt: `works`, `old` (it must update before), `offline`, `hangs`; None where there is none.
        """
        programs, notes, script = folder / "bin", folder / "notes", folder / "project" / ".ci" / "run"
        for one in (programs, notes, script.parent):
            one.mkdir(parents=True)
        text = SCRIPT.read_text()
        assert text.count(POLICY) == 1
        script.write_text(text.replace(POLICY, str(notes / "policy-rc.d")))
        for name, does in STAND_INS.items():
            if name != "apt-get" or apt:
                (programs / name).write_text(f'#!/bin/bash\necho "{name} $*" >> "$NOTES/called"\n{does}\n')
                (programs / name).chmod(0o755)
        for name in ("bash", "dirname", "cat", "touch", "install", "rm"):
            (programs / name).symlink_to(f"/bin/{name}")
        environment = {"PATH": str(programs), "HOME": str(folder), "NOTES": str(notes), "APT": apt or "", "FAILS": "-"}
        environment |= {"USER_ID": "0", "LACKS": LACKS} | told
        if (policy := environment.pop("POLICY", None)) is not None:
            (notes / "policy-rc.d").write_text(policy)
        done = subprocess.run(
            ["/bin/bash", str(script)],
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
        )
        self.code, self.said = done.returncode, done.stdout.splitlines()
        assert not done.stderr, done.stderr
        called = (notes / "called").read_text().splitlines()
        self.of_uv = [one.removeprefix("uv ") for one in called if one.startswith("uv ") and "hosts.py" not in one]
        self.apt = [one for one in called if one.startswith("apt-get")]
        self.policies = (notes / "policies").read_text() if self.apt else ""  # at each call of apt
        self.policy_stays = (notes / "policy-rc.d").exists()


def test_the_suite_that_always_runs_comes_last(tmp_path: Path) -> None:
    ran = Ran(tmp_path, "works")
    assert ran.code == 0 and ran.of_uv == [*BEFORE, CLUSTER, *ALWAYS]
    assert not any("cluster" in line.lower() for line in ran.said)
    (install,) = ran.apt
    assert {"openssh-server", "rsync", "iproute2"} <= set(install.split())


def test_a_machine_that_lacks_nothing_is_left_as_it_is(tmp_path: Path) -> None:
    ran = Ran(tmp_path, "works", LACKS="")
    assert ran.of_uv == [*BEFORE, CLUSTER, *ALWAYS] and not ran.apt and not ran.policy_stays


def test_old_lists_of_packages_are_made_new(tmp_path: Path) -> None:
    ran = Ran(tmp_path, "old")
    assert ran.code == 0 and CLUSTER in ran.of_uv and len(ran.apt) == 3 and ran.apt[1].endswith(" update")


def test_no_service_starts_of_what_is_installed(tmp_path: Path) -> None:
    """Else a server of ssh would come up on the machine. A policy that is there already is left to it."""
    refuses = "#!/bin/sh\nexit 101\n"
    for apt, times in (("works", 1), ("offline", 3), ("old", 3)):
        ran = Ran(tmp_path / apt, apt)
        assert ran.policies == refuses * times and not ran.policy_stays
    ran = Ran(tmp_path / "own", "works", POLICY="of the machine")
    assert ran.policies == "of the machine" and ran.policy_stays


@pytest.mark.parametrize(
    ("apt", "told", "why"),
    [
        (None, {}, LACKS),
        ("works", {"USER_ID": "1000"}, LACKS),
        ("offline", {}, LACKS),
        ("hangs", {}, LACKS),
        ("works", {"LACKS": "namespaces are forbidden here: no"}, "namespaces are forbidden here: no"),
    ],
)
def test_the_last_line_says_that_the_cluster_was_not_tested(
    apt: str | None, told: dict[str, str], why: str, tmp_path: Path
) -> None:
    ran = Ran(tmp_path, apt, **told)
    assert ran.code == 0, "what cannot be tested here has not failed"
    assert ran.of_uv == [*BEFORE, *ALWAYS]
    assert ran.said[-1] == f"The cluster was NOT tested: {why}."
    assert (len(ran.apt) > 0) == (apt == "offline")
    assert ("apt cannot install" in ran.said[0]) == (apt in ("offline", "hangs"))


@pytest.mark.parametrize("fails", [*BEFORE, CLUSTER, *ALWAYS])
def test_whatever_fails_fails_the_run(fails: str, tmp_path: Path) -> None:
    ran = Ran(tmp_path, "works", FAILS=fails)
    assert ran.code == 1 and ran.of_uv[-1] == fails
