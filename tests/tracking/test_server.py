"""Where MLflow is, what its errors mean, and what a user may see of an address."""

from __future__ import annotations

import errno
import os
import socketserver
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import requests
import sqlalchemy.exc
from made_sweeps import manifest

from genlab.errors import CorruptFile, GenlabError, StorageError
from genlab.tracking.address import artifact_location, is_http, shown, sqlite_file
from genlab.tracking.drain import GRACE
from genlab.tracking.mlflow_runs import Publisher
from genlab.tracking.server import ENVIRONMENT, EventRefused, Refused, Unreachable, fault, page, quiet_mlflow
from genlab.tracking.storage import Storage

SECRET = "https://me:secret@host/x"


def raised(said: int | str | Exception) -> Exception:
    """What the client raises where a server answers with a status of HTTP or with an error code of MLflow."""
    if isinstance(said, Exception):
        return said
    if isinstance(said, int):
        response = requests.Response()
        response.status_code = said
        return requests.HTTPError(f"{said} for url: {SECRET}/api", response=response)
    quiet_mlflow()
    from mlflow.exceptions import RestException

    return RestException({"error_code": said, "message": f"at {SECRET}"})


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        *((status, Unreachable) for status in (408, 409, 425, 429, 499, 500, 502, 503, 504)),
        *((status, Refused) for status in (401, 403)),
        *((status, EventRefused) for status in (400, 404, 413, 422)),
        *((code, Unreachable) for code in ("TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR", "REQUEST_LIMIT_EXCEEDED")),
        *((code, Refused) for code in ("PERMISSION_DENIED", "UNAUTHENTICATED")),
        ("ENDPOINT_NOT_FOUND", Refused),  # something else listens there
        *((code, EventRefused) for code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")),
        (requests.ConnectionError("x"), Unreachable),
        (requests.HTTPError("without an answer"), Unreachable),
        (TimeoutError("x"), Unreachable),
        (sqlalchemy.exc.OperationalError("x", {}, Exception("database is locked")), Unreachable),
        (sqlite3.OperationalError("database is locked"), Unreachable),
        (sqlite3.OperationalError("no such table: experiments"), EventRefused),
        (sqlite3.DatabaseError("file is not a database"), EventRefused),
        (IsADirectoryError(errno.EISDIR, "x"), EventRefused),
        (OSError(errno.ENAMETOOLONG, "x"), EventRefused),
        (OSError(errno.ENOSPC, "x"), Unreachable),
        (ValueError("x"), EventRefused),
    ],
)
def test_what_an_error_means(said: int | str | Exception, meaning: type[Exception]) -> None:
    known = fault(raised(said), SECRET)
    assert type(known) is meaning
    assert "https://host/x: " in str(known) and "secret" not in str(known)  # which server it was


def test_a_storage_that_does_not_answer_may_do_so_later() -> None:
    known = fault(StorageError("a/b cannot be read"), SECRET)
    assert type(known) is Unreachable and str(known) == "a/b cannot be read"


@pytest.mark.parametrize("error", [Unreachable("x"), Refused("x"), EventRefused("x"), CorruptFile("x")])
def test_what_is_known_already_stays_as_it_is(error: Exception) -> None:
    assert fault(error, SECRET) is error


def test_a_refusal_is_told_to_the_user_and_the_others_are_not() -> None:
    assert issubclass(Refused, GenlabError) and not issubclass(Unreachable, GenlabError)


def test_passwords_are_never_shown() -> None:
    assert shown(SECRET) == "https://host/x"
    assert shown("no http://h/ but a@b and s3://key:word@bucket, 'postgresql+psycopg2://u@db/x'") == (
        "no http://h/ but a@b and s3://bucket, 'postgresql+psycopg2://db/x'"
    )
    assert shown("http://host/~me@work") == "http://host/~me@work"


def test_what_kind_of_address_it_is(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert [is_http(uri) for uri in ("http://h:5000", "https://h", "sqlite:///h.db", "postgresql://http://h")] == [
        True,
        True,
        False,
        False,
    ]
    assert sqlite_file("sqlite:////data/a.db") == "/data/a.db"
    assert sqlite_file("sqlite+pysqlite:////data/a.db?timeout=9") == "/data/a.db"
    assert sqlite_file("sqlite:///a.db") == f"{tmp_path}/a.db"
    assert sqlite_file("http://h/sqlite:///a.db") is None and sqlite_file("mysql://h/a.db") is None


def test_where_artifacts_go(tmp_path: Path) -> None:
    folder = Storage(str(tmp_path / "results" / "lsgan-1"))
    assert artifact_location("sqlite:////data/a.db?timeout=9", folder) == "/data/mlartifacts"
    assert artifact_location("mysql+pymysql://me@h/db", folder) == f"{tmp_path}/results/mlartifacts"
    assert artifact_location("https://h", folder) is None


@pytest.mark.parametrize(("mode", "rising"), [("min", "true"), ("max", "false")])
def test_the_page_shows_the_trials_of_this_sweep_best_first(mode: str, rising: str) -> None:
    address = page("https://me:secret@host/mlflow/", "12", "lsgan-1", "kid/mean", mode)
    where, _, query = address.partition("?")
    assert where == "https://host/mlflow/#/experiments/12/runs"
    assert parse_qs(query) == {
        "compareRunsMode": ["CHART"],
        "workflowType": ["machine_learning"],
        "orderByKey": ["metrics.`kid/mean`"],
        "orderByAsc": [rising],
        "searchFilter": ["tags.`genlab.sweep` = 'lsgan-1'"],
    }
    assert "+" not in query  # a space is %20
    local = page("sqlite:////data/a.db", "1", "lsgan-1", "kid", mode)
    assert local.startswith("http://127.0.0.1:5000/#/experiments/1/runs?")


@contextmanager
def listening(handler: type[socketserver.BaseRequestHandler]) -> Iterator[str]:
    """The address of a made-up server."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def connect(uri: str, tmp_path: Path) -> None:
    Publisher(Storage(str(tmp_path)), "lsgan-1", manifest("lsgan"), uri).connect()


@pytest.mark.parametrize(
    ("status", "meaning"), [(503, Unreachable), (429, Unreachable), (403, Refused), (400, Refused)]
)
def test_a_request_is_made_once_and_its_answer_believed(status: int, meaning: type[Exception], tmp_path: Path) -> None:
    """A request that the client repeats by itself could make a run twice."""
    asked: list[str] = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Retry-After", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with listening(Answers) as uri, pytest.raises(meaning):
        connect(uri, tmp_path)
    assert len(asked) == 1


def test_a_silent_server_is_given_up_and_what_the_user_set_stays(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    released = threading.Event()

    class Silent(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            released.wait(60)

    with listening(Silent) as uri, pytest.raises(Unreachable):
        connect(uri, tmp_path)
    released.set()
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "1"


def test_a_silent_server_holds_a_request_for_less_than_a_closing_drain_waits(monkeypatch: Any) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    quiet_mlflow()
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "20" and GRACE > 20
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
