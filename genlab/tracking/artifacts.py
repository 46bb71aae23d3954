"""Where the artifacts of a run lie, whether that place is to be trusted, and a database that was moved with them."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from urllib.parse import unquote, urlsplit

from genlab.tracking.address import is_http, same, shown, sqlite_file

SWEEP = "genlab.sweep"  # the tag that all runs of genlab's have: the name of the sweep's folder
NAME = "mlartifacts"  # of the folder beside a SQLite database
# where a server or a database may keep artifacts, beside its own address
STORES = ("s3", "r2", "b2", "gs", "wasbs", "abfss", "hdfs", "viewfs", "dbfs", "ftp", "sftp")
_HOST = re.compile(r"[\w.-]+(:\d+)?|\[[0-9A-Fa-f:.]+\](:\d+)?")  # that every reader of URLs reads alike
LOCKED = 20.0  # seconds that another process may hold the database
# columns of MLflow's tables that say where artifacts lie
COLUMNS = (("experiments", "artifact_location"), ("runs", "artifact_uri"))


def misplaced(tracking_uri: str, artifacts: str, name: str = "") -> str | None:
    """Why nothing is written to where `tracking_uri` says that artifacts lie; None where it may be written to.

    A server could name any file of this machine, or another server, and so could a database that somebody else made, or
    a link beside it.

    Args:
        artifacts: the place, as MLflow knows it.
        name: of the artifact, relative to that.
    """
    path, database = _local(artifacts), sqlite_file(tracking_uri)
    if database is None:
        if path is None:
            return _elsewhere(tracking_uri, artifacts)
        if is_http(tracking_uri):
            return (
                f"{shown(tracking_uri)} wants files written to the folder {path} of this machine, which a server must "
                "not: start it with --artifacts-destination, so that it takes them itself"
            )
        return None
    own = os.path.join(os.path.dirname(database), NAME)
    if path is not None and _lies_in(path, own):
        link = next((one for one in _steps(own, os.path.join(path, name)) if os.path.islink(one)), None)
        return link and f"{link} is a link: nothing is written through it, since it may lead to anybody's files"
    return (
        f"the database {database} keeps its artifacts in {path or shown(artifacts)}, which is not beside it: move them "
        f"to {own}, or name another database or a server by --tracking-uri"
    )


def _elsewhere(tracking_uri: str, artifacts: str) -> str | None:
    """`misplaced` for a place that is not on this machine. Who serves artifacts over HTTP is told the user's password,
    so that must be the server that a person named. A store has an account of its own."""
    parts = urlsplit(artifacts)
    if parts.scheme in STORES:
        return None
    if is_http(tracking_uri):
        server = urlsplit(tracking_uri)
        if parts.scheme == "mlflow-artifacts" and not parts.netloc:
            return None
        scheme = server.scheme if parts.scheme == "mlflow-artifacts" else parts.scheme
        if _HOST.fullmatch(parts.netloc) and same(f"{scheme}://{parts.netloc}", f"{server.scheme}://{server.netloc}"):
            return None
    return (
        f"{shown(tracking_uri)} wants files sent to {shown(artifacts)}, and nothing is sent to an address that this "
        "start does not name: have the server take them itself (--serve-artifacts)"
    )


def mend(database: str) -> str | None:
    """Have a SQLite database that was moved or copied know the artifacts that lie beside it now.

    Returns:
        What was done, in one line; None where nothing had to be.

    Raises:
        sqlite3.Error: the database cannot be read or written.
    """
    own = os.path.join(os.path.dirname(database), NAME)
    with contextlib.closing(sqlite3.connect(database, timeout=LOCKED)) as connection, connection:
        known = connection.execute("SELECT experiment_id, artifact_location FROM experiments").fetchall()
        others = [(number, old) for number, old in known if old and _was_beside(old, own)]
        moved = [(number, old) for number, old in others if _is_ours(connection, number, old, own)]
        for number, old in moved:
            for table, column in COLUMNS:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                    f"WHERE experiment_id = ? AND ({column} = ? OR substr({column}, 1, ?) = ?)",
                    (own, len(old) + 1, number, old, len(old) + 1, f"{old}/"),
                )
    if not moved:
        return None
    before = ", ".join(dict.fromkeys(old for _, old in moved))
    return f"the database {database} was moved: its images are looked for, and kept, in {own} (it knew {before})"


def _is_ours(connection: sqlite3.Connection, experiment: int, old: str, own: str) -> bool:
    """Whether genlab's artifacts of an experiment lie in `own` now: some are there, or where they were is nothing any
    more. Another program's stay where they are."""
    runs = connection.execute("SELECT run_uuid FROM runs WHERE experiment_id = ?", (experiment,)).fetchall()
    swept = connection.execute(
        f"SELECT 1 FROM tags JOIN runs USING (run_uuid) WHERE experiment_id = ? AND key = '{SWEEP}' LIMIT 1",
        (experiment,),
    ).fetchone()
    if runs and not swept:
        return False
    return not os.path.isdir(_local(old) or "") or any(os.path.isdir(os.path.join(own, run)) for (run,) in runs)


def _was_beside(location: str, own: str) -> bool:
    """Whether that is a folder beside a database elsewhere, called as those of genlab are."""
    path = _local(location)
    return path is not None and os.path.basename(path) == NAME and not _lies_in(path, own)


def _steps(folder: str, path: str) -> list[str]:
    """The folder, and what lies on the way from it to `path`, that included."""
    rest = os.path.relpath(os.path.abspath(path), folder).split(os.sep)
    return [folder, *(os.path.join(folder, *rest[: i + 1]) for i in range(len(rest)))]


def _lies_in(path: str, folder: str) -> bool:
    return os.path.commonpath([os.path.realpath(path), os.path.realpath(folder)]) == os.path.realpath(folder)


def _local(uri: str) -> str | None:
    """The path that an artifact URI names on this machine; None for a place elsewhere."""
    if uri.startswith("/"):
        return uri.rstrip("/") or "/"
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return unquote(parts.path).rstrip("/") or "/"
    return None if parts.scheme else os.path.abspath(uri)
