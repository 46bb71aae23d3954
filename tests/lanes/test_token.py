"""The file with the token of a Ray: who makes it, and who may read it."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from genlab.errors import GenlabError
from genlab.lanes.token import close_token, make_token


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty one, in an environment without a word of Ray, where new files are for everybody to read."""
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    before = os.umask(0o022)
    yield tmp_path
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_nobody_but_its_owner_reads_a_token_that_we_make(home: Path) -> None:
    make_token()
    folder = home / ".ray"
    assert mode(folder) == 0o700 and mode(folder / "auth_token") == 0o600
    assert [file.name for file in folder.iterdir()] == ["auth_token"]
    first = (folder / "auth_token").read_text()
    assert len(bytes.fromhex(first)) == 32
    make_token()
    assert (folder / "auth_token").read_text() == first


def test_of_two_starts_at_once_one_makes_it_for_both(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Ray whose processes read two tokens refuses its own."""
    link = os.link

    def late(source: str, target: Path) -> None:
        target.write_text("of the other start")
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    make_token()
    assert (home / ".ray" / "auth_token").read_text() == "of the other start"


def test_many_starts_at_once_read_one_whole_token(home: Path) -> None:
    def start(_: int) -> str:
        make_token()
        return (home / ".ray" / "auth_token").read_text()

    with ThreadPoolExecutor(16) as starts:
        (token,) = set(starts.map(start, range(64)))
    assert len(token) == 64


@pytest.mark.parametrize(
    "said", [{"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_TOKEN": "secret"}, {"RAY_AUTH_TOKEN_PATH": "/run/token"}]
)
def test_none_is_made_where_ray_would_not_read_it(
    home: Path, said: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    make_token()
    assert list(home.iterdir()) == []
    monkeypatch.setenv("RAY_AUTH_MODE", "Token")
    make_token()
    assert (home / ".ray" / "auth_token").exists() is ("RAY_AUTH_MODE" in said)


def test_where_no_hard_link_can_be_made_ray_makes_the_token(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    make_token()
    assert list((home / ".ray").iterdir()) == []


def test_a_home_that_takes_no_token_is_one_line(home: Path) -> None:
    (home / ".ray").touch()
    with pytest.raises(GenlabError, match=r"/\.ray/auth_token, .*\(.+\): set HOME to .*, or RAY_AUTH_TOKEN to a"):
        make_token()


def test_one_that_all_could_read_is_taken_from_them(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    close_token()  # there is none
    file = home / ".ray" / "auth_token"
    file.parent.mkdir()
    file.write_text("token")
    close_token()
    assert mode(file) == 0o600 and file.read_text() == "token"
    assert not caplog.records


def test_one_of_somebody_else_is_left_with_a_warning(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = home / ".ray" / "auth_token"
    file.parent.mkdir()
    file.write_text("token")
    monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)
    close_token()
    assert mode(file) == 0o644
    (said,) = caplog.records
    assert (
        said.name.startswith("genlab")
        and said.levelno == logging.WARNING
        and str(file) in said.message
        and "chmod 600" in said.message
    )
    file.chmod(0o600)
    close_token()
    assert len(caplog.records) == 1


def test_one_that_cannot_be_closed_is_said(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = home / ".ray" / "auth_token"
    file.parent.mkdir()
    file.write_text("token")

    def chmod(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", chmod)
    close_token()
    assert len(caplog.records) == 1
