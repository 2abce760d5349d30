"""Loopback addresses, which must not go through an HTTP proxy."""

import os
from ipaddress import ip_address
from urllib.parse import urlsplit

NAMES = ("127.0.0.1", "localhost", "::1")


def exempt_loopback() -> None:
    """Add loopback addresses to ``NO_PROXY``, for local MLflow and TorchServe servers; children inherit it."""
    given = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    listed = [name.strip() for name in given.split(",") if name.strip()]
    exempt = ",".join([*listed, *(name for name in NAMES if name not in listed)])
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = exempt


def is_loopback(url: str) -> bool:
    """Whether a URL names this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"
