"""Where a sweep is sent: one place has one form, and nobody but the person at the keyboard says where."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlab.errors import GenlabError
from genlab.tracking import address
from genlab.tracking.address import chosen, named, normal, own_database, same, shown
from genlab.tracking.storage import Storage

HERE = socket.gethostname()
OWN = next(  # an address of this machine, of one that has another than the loopback's
    (
        each.address
        for own in psutil.net_if_addrs().values()
        for each in own
        if each.family == socket.AF_INET and not each.address.startswith("127.")
    ),
    "127.0.0.2",
)


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """What names resolve to; no network is asked."""
    known = {"own.name": OWN, OWN: OWN, "host": "192.0.2.1", "other": "192.0.2.2"}

    def found(name: str, _: None) -> list[Any]:
        if name not in known:
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, 1, 6, "", (known[name], 0))]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    address._resolved.cache_clear()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sqlite:///{here}/x.db", "sqlite:///x.db"),
        ("sqlite:///{here}/x.db", "sqlite:////{here}//x.db"),
        ("sqlite:///{here}/x.db", "sqlite+pysqlite:///{here}/a/../x.db"),
        ("sqlite:///{here}/x.db", "sqlite:///{here}/link/x.db"),
        ("sqlite:///{here}/x.db", "sqlite:///{here}/x.db?timeout=9"),
        ("http://host:5000", "http://host:5000/"),
        ("http://host:5000", "http://me:p@ss@host:5000"),
        ("http://host:5000", "HTTP://Host:5000//"),
        ("http://host", "http://host:80/"),
        ("https://host/mlflow", "https://host:443/mlflow/"),
        ("https://host/mlflow", "https://host./a/../mlflow"),
        ("http://localhost:5000", "http://127.0.0.1:5000"),
        ("http://localhost:5000", "http://[::1]:5000/"),
        ("http://localhost:5000", f"http://{HERE}:5000"),
        ("http://localhost:5000", f"http://{OWN}:5000"),
        ("http://127.0.0.1:5000", "http://own.name:5000"),
        ("postgresql://host/db", "postgresql+psycopg2://me:secret@host:5432/db"),
        ("postgres://host/db", "postgresql://host/db"),
    ],
)
def test_one_place_is_one_however_it_is_written(
    one: str, other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(".")
    one, other = (uri.format(here=tmp_path) for uri in (one, other))
    assert same(one, other) and normal(normal(other)) == normal(one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sqlite:////a/x.db", "sqlite:////a/y.db"),
        ("http://host:5000", "http://host:5001"),
        ("http://host", "https://host"),
        ("http://host/a", "http://host/b"),
        ("http://host", "http://other"),
        ("postgresql://host/db", "mysql://host/db"),
    ],
)
def test_two_places_are_two(one: str, other: str) -> None:
    assert not same(one, other)


@given(st.text(max_size=40))
def test_any_text_has_a_form(text: str) -> None:
    assert normal(text) == normal(text)
    assert "secret" not in shown(f"{text} http://me:secret@host/x") or "secret" in text


@pytest.mark.parametrize("uri", ["http://me:p@ss@host/x", "https://me@host", "postgresql://me:pw/d@host"])
def test_no_part_of_a_password_is_shown(uri: str) -> None:
    told = shown(f"cannot reach {uri}: again")
    assert told == "cannot reach {}://host{}: again".format(uri.partition(":")[0], "/x" * uri.endswith("/x"))


@pytest.mark.parametrize("uri", ["http://host:5000/a@b", "http://host/a@b", "sqlite:////a@b/x.db", "http://host:5000"])
def test_what_is_no_password_stays(uri: str) -> None:
    assert shown(uri) == uri


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    monkeypatch.delenv(address.VARIABLE, raising=False)
    made = Storage(str(tmp_path / "results"))
    made.make()
    return made


SERVER = "http://host:5000"


@pytest.mark.parametrize(
    ("option", "environment", "recorded", "where"),
    [
        (None, None, None, "own"),
        (None, None, "own", "own"),
        (None, SERVER, None, "own"),  # a sweep that was told no address stays where it is
        (SERVER, None, None, SERVER),
        (SERVER, None, "http://evil", SERVER),
        (SERVER, "http://other", "http://other", SERVER),
        (None, "http://me:pw@HOST:5000/", SERVER, "http://me:pw@HOST:5000/"),
        (None, None, SERVER, None),
        (None, "http://other", SERVER, None),
        (None, "", SERVER, None),
        (None, None, "sqlite:////any/file", None),
    ],
)
def test_who_says_where(
    option: str | None,
    environment: str | None,
    recorded: str | None,
    where: str | None,
    storage: Storage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if environment is not None:
        monkeypatch.setenv(address.VARIABLE, environment)
    own = own_database(storage)
    recorded = own if recorded == "own" else recorded
    if where is None:
        with pytest.raises(GenlabError, match=r"its records name .*: name it, or another one, by --tracking-uri"):
            chosen(storage, option, recorded)
    else:
        assert chosen(storage, option, recorded) == (own if where == "own" else where)
    assert named(option) == (option or environment or None)


def test_a_database_that_is_named_in_a_folder_that_is_not_there_is_refused_and_none_is_made(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{tmp_path}/typo/mlflow.db"
    with pytest.raises(GenlabError, match=f"there is no folder {tmp_path}/typo for the database"):
        chosen(storage, uri, None)
    monkeypatch.setenv(address.VARIABLE, uri)
    with pytest.raises(GenlabError, match="make it, or name another database"):
        chosen(storage, None, uri)
    assert not (tmp_path / "typo").exists()
    (tmp_path / "typo").mkdir()
    assert chosen(storage, uri, None) == chosen(storage, None, uri) == uri


@pytest.mark.parametrize("name", ["a?b", "100%25", "?", "a%3Fb"])
def test_a_folder_in_which_a_database_would_lie_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(GenlabError, match=r"does not take .* in a path.*--storage.*--tracking-uri"):
        chosen(Storage(str(tmp_path / name / "results")), None, None)


@pytest.mark.parametrize("name", ["a b", "a#b", "100%", "ä", "a;b&c=d", "a:b@c", "[x]*"])
def test_other_folders_are_taken_as_they_are(name: str, tmp_path: Path) -> None:
    assert chosen(Storage(str(tmp_path / name)), None, None) == f"sqlite:///{tmp_path / name}/mlflow.db"


def test_a_database_that_is_a_link_may_be_anybodys(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "results" / "mlflow.db").symlink_to(tmp_path / "other.db")
    with pytest.raises(GenlabError, match=r"mlflow\.db is a link.*--tracking-uri"):
        chosen(storage, None, None)
    uri: Any = own_database(storage)
    assert chosen(storage, uri, None) == uri  # its user says so


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("sqlite:///{here}/a%41b.db", "takes no '%41' in a path"),
        ("sqlite:///{here}/q?r/m.db", "takes no '?' in a path"),
        ("sqlite:///:memory:", "names no file that would be kept"),
        ("sqlite://", "names no file"),
        ("SQLITE:///{here}/m.db", "names no file"),
    ],
)
def test_a_database_that_would_lie_elsewhere_is_refused(
    uri: str, says: str, storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = uri.format(here=tmp_path)
    with pytest.raises(GenlabError, match=re.escape(says)):
        chosen(storage, uri, None)
    monkeypatch.setenv(address.VARIABLE, uri)
    with pytest.raises(GenlabError, match=re.escape(says)):
        chosen(storage, None, uri)
    fine = f"sqlite:///{tmp_path}/m.db?timeout=9"
    assert chosen(storage, fine, None) == fine
