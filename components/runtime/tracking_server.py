"""Check that the configured MLflow store is usable and reachable: once per process.

MLflow itself retries seven times with growing pauses, several minutes in total. A user who has mistyped an address is
told within seconds instead; a step of a pipeline waits until the store answers (``patience``).
"""

import logging
import re
from functools import cache
from urllib.parse import urlsplit

from mmkgc.components.runtime.environment import environment
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.patience import Away, patiently
from mmkgc.components.runtime.quoting import masked, printable, sqlite_file

SECONDS = 5
IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": str(SECONDS)}
SERVERS = ("http", "https")
DATABASES = ("postgresql", "mysql", "mssql")
NAMED = ("databricks", "uc")  # stores that MLflow identifies by name
TIMEOUTS = {"postgresql": "connect_timeout", "mysql": "connect_timeout"}  # name of the drivers' parameter
FOLDERS = "MLflow keeps no runs in plain folders"
SUPPORTED = "give http(s)://HOST:PORT, postgresql://…, mysql://…, sqlite:////PATH/mlflow.db, or leave it unset"


@cache
def check_server(uri: str) -> None:
    """Raise UserError if ``uri`` is not a tracking store, refuses the user, or does not answer in time."""
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it also logs the exceptions that it raises
    scheme = _scheme(uri)
    if scheme in SERVERS:
        patiently(lambda: _ask_server(uri))
    elif scheme in DATABASES:
        patiently(lambda: _ask_database(uri, scheme))
    elif what := _unusable(uri, scheme):
        raise UserError(f"MLFLOW_TRACKING_URI {masked(uri)}", what, SUPPORTED)


def _unusable(uri: str, scheme: str) -> str:
    """Why no runs can be kept there; empty if they can."""
    if scheme == "sqlite":
        path = sqlite_file(uri)
        if path is None:
            return "the steps are processes of their own and cannot share a database in memory"
        return "this is a folder, not the file of a database" if path.is_dir() else ""
    if uri.startswith(NAMED):
        return ""
    return f"there is no MLflow store of the kind '{scheme}'" if scheme != "file" and scheme else FOLDERS


def _scheme(uri: str) -> str:
    try:
        return urlsplit(uri).scheme.partition("+")[0].lower()
    except ValueError as error:
        raise UserError(f"MLFLOW_TRACKING_URI {masked(uri)}", f"no URL ({error})", SUPPORTED) from error


def _ask_server(uri: str) -> None:
    import mlflow

    try:
        with environment(IMPATIENT):
            mlflow.MlflowClient(uri).search_experiments(max_results=1)
    except Exception as error:  # from requests, urllib3 or MLflow: in any case the server is unusable
        raise _away(uri, error) from error


def _ask_database(uri: str, scheme: str) -> None:
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    arguments = {TIMEOUTS[scheme]: SECONDS} if scheme in TIMEOUTS else {}
    try:
        create_engine(uri, poolclass=NullPool, connect_args=arguments).connect().close()
    except ImportError as error:
        what, mend = f"its driver is not installed ({error})", "install the driver, or name another: mysql+pymysql://…"
        raise UserError(f"MLflow at {masked(uri)}", what, mend) from error
    except (SQLAlchemyError, ValueError) as error:  # an invalid URL
        raise _away(uri, error) from error


def _away(uri: str, error: Exception) -> UserError:
    where, told = f"MLflow at {masked(uri)}", str(error).strip() or type(error).__name__
    code = re.search(r"failed with error code (\d+)", told)
    if code and code[1] in ("401", "403"):
        mend = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        return UserError(where, f"it refuses these credentials (HTTP {code[1]})", mend)
    if code and int(code[1]) >= 500:
        return Away(where, f"it cannot answer now (HTTP {code[1]})", "see its log: it may not reach its database")
    if code:
        return UserError(where, f"what answers there is no MLflow (HTTP {code[1]})", "check MLFLOW_TRACKING_URI")
    cause = re.search(r"Caused by .*(?:: |\(['\"]|, ')([^:]+?)['\")]*$", told.splitlines()[0])  # wrapped thrice
    reason = cause[1] if cause else told.splitlines()[0]
    return Away(where, f"no answer ({printable(masked(reason[:200]))})", "start it, or check MLFLOW_TRACKING_URI")
