"""How MLflow is imported quietly, where its pages are, and what its many errors mean to us."""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
from types import ModuleType
from urllib.parse import quote, urlencode

from genlab.errors import CorruptFile, GenlabError, StorageError
from genlab.tracking.address import is_http, shown

# No retry inside one request: a POST repeated blindly can make a run twice, so the caller looks, then sends again.
# Nor may a silent server hold a request for two minutes, MLflow's own default.
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}


# of a file that another try would not write either: what is in its place, or its name, is not for it
FOR_GOOD = (errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL)


class Unreachable(Exception):
    """The server, its database or the storage does not answer now; it may later."""


class Refused(GenlabError):
    """The server answers and refuses: another try would end the same way."""


class EventRefused(Exception):
    """This one event cannot be sent, others can."""


def page(tracking_uri: str, experiment: str, sweep: str, metric: str, mode: str) -> str:
    """The address of a sweep's trials in MLflow's UI, best first, with charts and images; `mlflow ui` serves databases.

    Without all that, the UI of MLflow 3.17 opens on traces of language models.
    """
    server = shown(tracking_uri).rstrip("/") if is_http(tracking_uri) else "http://127.0.0.1:5000"
    view = {"compareRunsMode": "CHART", "workflowType": "machine_learning"}
    view |= {"orderByKey": f"metrics.`{metric}`", "orderByAsc": str(mode == "min").lower()}
    view |= {"searchFilter": of_sweep(sweep)}
    return f"{server}/#/experiments/{experiment}/runs?{urlencode(view, quote_via=quote)}"


def of_sweep(sweep: str) -> str:
    """What finds the runs of a sweep, in MLflow's filter language."""
    mark = '"' if "'" in sweep else "'"
    return f"tags.`genlab.sweep` = {mark}{sweep}{mark}"


def quiet_mlflow() -> ModuleType:
    """Import mlflow (1.5 s) without telemetry, banners or log lines below a warning. What the user set stays."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import mlflow

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return mlflow


def fault(error: Exception, tracking_uri: str) -> Exception:
    """What an exception out of MLflow, requests or SQLAlchemy means: Unreachable, Refused, EventRefused or itself."""
    if isinstance(error, StorageError):
        return Unreachable(str(error))
    if isinstance(error, Unreachable | Refused | EventRefused | CorruptFile):
        return error
    from mlflow.exceptions import MlflowException
    from requests import HTTPError

    said = f"{shown(tracking_uri)}: {shown(' '.join(str(error).split()))[:500]}"  # errors of requests name the URL
    if isinstance(error, MlflowException):
        status = int(error.get_http_status_code())
    elif isinstance(error, HTTPError) and error.response is not None:
        status = error.response.status_code
    elif isinstance(error, OSError) and error.errno in FOR_GOOD:
        return EventRefused(f"{type(error).__name__}: {said}")
    elif isinstance(error, sqlite3.OperationalError):  # locked, or full; or no database of MLflow's
        return EventRefused(said) if "no such" in said else Unreachable(said)
    elif isinstance(error, OSError) or type(error).__module__.startswith(("sqlalchemy", "urllib3", "botocore")):
        return Unreachable(said)
    else:
        return EventRefused(f"{type(error).__name__}: {said}")
    foreign = status == 404 and getattr(error, "error_code", "") == "ENDPOINT_NOT_FOUND"
    if status in (401, 403) or foreign:
        return Refused(said)
    if status >= 500 or status in (408, 409, 425, 429, 499):
        return Unreachable(said)
    return EventRefused(said)
