"""Where a sweep is sent: the storage's own database, or an address that a person named in this start."""

from __future__ import annotations

import functools
import os
import posixpath
import re
import socket
from urllib.parse import urlsplit

import psutil

from genlab.errors import GenlabError
from genlab.tracking.storage import Storage

VARIABLE = "MLFLOW_TRACKING_URI"
PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
_SQLITE = re.compile(r"sqlite(?:\+\w+)?:///([^?]+)")
# of a URL, up to the last @ before its path; a password may hold a slash, a port is none
_USER = re.compile(r"(?<=://)(?:[^/@:]*:(?!\d+/).*|[^/]*)@")
_WORD = re.compile(r"[^\s\"']+")
_CUT = re.compile(r"\?|%[0-9A-Fa-f]{2}")  # what a database's URL does not take literally


def named(option: str | None) -> str | None:
    """The address that this start names: by `--tracking-uri`, or else by MLFLOW_TRACKING_URI; None if by neither."""
    return option or os.environ.get(VARIABLE) or None


def chosen(storage: Storage, option: str | None, recorded: str | None) -> str:
    """Where a sweep in `storage` is sent.

    A sweep's folder may come from anybody, and whoever a sweep is sent to gets its images and the user's password. So
    an address that only the records name is not enough.

    Args:
        option: what `--tracking-uri` says in this start.
        recorded: what the sweep's records say; None of a new sweep, and of one that was told no address.

    Raises:
        GenlabError: only the records name the address, the storage's database cannot be one, or there is no folder for
            the database that is named.
    """
    if option:
        return _usable(option)
    if recorded is None or same(recorded, own_database(storage)):
        return _checked(own_database(storage))
    by_environment = os.environ.get(VARIABLE)
    if by_environment and same(by_environment, recorded):
        return _usable(by_environment)
    raise GenlabError(
        f"its records name {shown(recorded)}, and nothing is sent to an address that this start does not name: name "
        "it, or another one, by --tracking-uri"
    )


def own_database(storage: Storage) -> str:
    """`<storage>/mlflow.db`, one for all sweeps of a storage.

    SQLite needs a disk: beside a storage that is a URL it is `./results/mlflow.db`, the default storage's place. The
    records are the truth wherever they lie, so `genlab replay` fills such a database anew on any other machine.
    """
    folder = storage.root if storage.local else os.path.abspath("results")
    return f"sqlite:///{folder}/mlflow.db"


def _usable(uri: str) -> str:
    """
    Raises:
        GenlabError: it is a SQLite database that keeps nothing, or lies elsewhere than it says, or in a folder that is
            not there. None is made: it may be away, as when its mount is.
    """
    if uri.lower().startswith("sqlite"):
        path, _, query = uri.partition(":///")[2].partition("?")
        if sqlite_file(uri) is None or os.path.basename(path) == ":memory:":
            raise GenlabError(f"{uri} names no file that would be kept: write sqlite:///PATH")
        found = _CUT.search(path)
        if found or (query and not re.match(r"\w+=", query)):
            cut = found[0] if found else "?"
            raise GenlabError(f"the database {uri} would lie elsewhere: MLflow takes no {cut!r} in a path")
    if (database := sqlite_file(uri)) and not os.path.isdir(folder := os.path.dirname(database)):
        raise GenlabError(f"there is no folder {folder} for the database {uri}: make it, or name another database")
    return uri


def _checked(uri: str) -> str:
    """
    Raises:
        GenlabError: MLflow would write elsewhere than at this path.
    """
    path = uri.removeprefix("sqlite:///")
    if cut := _CUT.search(path):
        raise GenlabError(
            f"MLflow's database cannot lie in {os.path.dirname(path)}: it does not take {cut[0]!r} in a path. Rename "
            "the folder, name another one by --storage, or a database or server by --tracking-uri"
        )
    if os.path.islink(path):
        raise GenlabError(
            f"{path} is a link, and a link may lead to anybody's database: name the database by --tracking-uri"
        )
    return uri


def same(one: str, other: str) -> bool:
    """Whether two addresses are one place, however each is written."""
    return normal(one) == normal(other)


def normal(uri: str) -> str:
    """An address in its one form: without user, password, default port, trailing slash and driver; a file by its real
    path; this machine by the name `localhost`."""
    uri = uri.strip()
    if database := sqlite_file(uri):
        return f"sqlite:///{os.path.realpath(database)}"
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        return uri
    scheme = parts.scheme.partition("+")[0].lower()
    scheme = "postgresql" if scheme == "postgres" else scheme
    if not scheme or not parts.netloc:
        return uri.rstrip("/")
    host = _host(parts.hostname or "")
    path = posixpath.normpath(parts.path or "/").rstrip("/")
    return f"{scheme}://{host}{'' if port in (None, PORTS.get(scheme)) else f':{port}'}{path}"


def _host(name: str) -> str:
    """A host's name; `localhost` for this machine."""
    name = name.rstrip(".").lower()
    here = {"localhost", "::1", "0.0.0.0", "::", socket.gethostname().lower()}
    if name in here or name.startswith("127."):
        return "localhost"
    here |= {each.address.partition("%")[0].lower() for own in psutil.net_if_addrs().values() for each in own}
    return "localhost" if _resolved(name) & here else name


@functools.cache
def _resolved(name: str) -> frozenset[str]:
    """The addresses of a host; its name alone where they are not known."""
    try:
        return frozenset(str(found[4][0]) for found in socket.getaddrinfo(name, None))
    except (OSError, UnicodeError):
        return frozenset([name])


def artifact_location(tracking_uri: str, folder: Storage) -> str | None:
    """Where a new experiment keeps its artifacts: a server decides itself (None), a SQLite file has them beside it, in
    `mlartifacts`, and for any other database they lie in the storage. `folder` is a sweep's own. Always absolute, so
    that `mlflow server --backend-store-uri <uri>` finds them from anywhere and no `mlruns` appears."""
    if database := sqlite_file(tracking_uri):
        return posixpath.join(os.path.dirname(database), "mlartifacts")
    if re.match(r"[a-z]+(\+[a-z0-9]+)?://", tracking_uri) and not is_http(tracking_uri):
        return posixpath.join(posixpath.dirname(folder.url), "mlartifacts")
    return None


def sqlite_file(tracking_uri: str) -> str | None:
    """The absolute path of a SQLite tracking database; None for any other URI."""
    match = _SQLITE.match(tracking_uri)
    return os.path.abspath(match[1]) if match else None


def is_http(tracking_uri: str) -> bool:
    """Whether it names a server."""
    return tracking_uri.lower().startswith(("http://", "https://"))


def shown(tracking_uri: str) -> str:
    """The URI, or a text with URIs in it, without users and passwords."""
    return _WORD.sub(lambda word: _without_user(word[0]), tracking_uri)


def _without_user(word: str) -> str:
    """What is behind the last @ is looked through no more: a text may be long, and be made to take long."""
    last = word.rfind("@") + 1
    return _USER.sub("", word[:last]) + word[last:]
