"""Whether the MLflow that the environment names is one that can be used, and answers: asked once, within seconds.

MLflow itself tries seven times with growing pauses, minutes in all, which a running pipeline wants and a user who has
mistyped an address does not.
"""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from urllib.parse import urlsplit

from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.quoting import masked, printable

SECONDS = 5
SERVERS = ("http", "https")
DATABASES = ("postgresql", "mysql", "mssql")
NAMED = ("databricks", "uc")  # stores that MLflow finds by their names alone
TIMEOUTS = {"postgresql": "connect_timeout", "mysql": "connect_timeout"}  # what drivers call it
SUPPORTED = "give http(s)://HOST:PORT, postgresql://…, mysql://…, sqlite:////PATH/mlflow.db, or leave it unset"


@cache
def check_server(uri: str) -> None:
    """Raise UserError where ``uri`` is no store of runs, or its server or database does not answer within seconds."""
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it logs tracebacks that are raised besides
    scheme = _scheme(uri)
    if scheme in SERVERS:
        _ask_server(uri)
    elif scheme in DATABASES:
        _ask_database(uri, scheme)
    elif scheme == "file" or (not scheme and not uri.startswith(NAMED)):
        raise UserError(f"MLFLOW_TRACKING_URI {masked(uri)}", "MLflow keeps no runs in plain folders", SUPPORTED)


def _scheme(uri: str) -> str:
    try:
        return urlsplit(uri).scheme.partition("+")[0].lower()
    except ValueError as error:
        raise UserError(f"MLFLOW_TRACKING_URI {masked(uri)}", f"no URL ({error})", SUPPORTED) from error


def _ask_server(uri: str) -> None:
    import mlflow

    try:
        with _impatient():
            mlflow.MlflowClient(uri).search_experiments(max_results=1)
    except Exception as error:  # of requests, urllib3, MLflow: whatever it is, the server is of no use
        raise _away(uri, error) from error


def _ask_database(uri: str, scheme: str) -> None:
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    arguments = {TIMEOUTS[scheme]: SECONDS} if scheme in TIMEOUTS else {}
    try:
        create_engine(uri, poolclass=NullPool, connect_args=arguments).connect().close()
    except (SQLAlchemyError, ImportError, ValueError) as error:  # a driver that is not installed, a URL that is none
        raise _away(uri, error) from error


def _away(uri: str, error: Exception) -> UserError:
    where, told = f"MLflow at {masked(uri)}", str(error).strip() or type(error).__name__
    code = re.search(r"failed with error code (\d+)", told)
    if code and code[1] in ("401", "403"):
        mend = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        return UserError(where, f"it refuses these credentials (HTTP {code[1]})", mend)
    if code:
        return UserError(where, f"what answers there is no MLflow (HTTP {code[1]})", "check MLFLOW_TRACKING_URI")
    cause = re.search(r"Caused by .*: ([^:]+?)['\")]*$", told.splitlines()[0])  # requests wraps it three times
    reason = cause[1] if cause else told.splitlines()[0]
    return UserError(where, f"no answer ({printable(masked(reason[:200]))})", "start it, or check MLFLOW_TRACKING_URI")


@contextmanager
def _impatient() -> Iterator[None]:
    wanted = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": str(SECONDS)}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)
