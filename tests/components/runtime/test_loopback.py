"""A proxy is for other machines."""

import os
from urllib.request import proxy_bypass_environment

import pytest

from mmkgc.components.runtime.loopback import exempt_loopback, is_loopback


@pytest.mark.parametrize("given", [None, "", "internal.example,localhost"])
def test_this_machine_is_exempt_and_others_stay_so(monkeypatch, given):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False) if given is None else monkeypatch.setenv(name, given)
    exempt_loopback()
    exempt_loopback()
    listed = os.environ["no_proxy"].split(",")
    assert sorted(listed) == sorted({*("127.0.0.1", "localhost", "::1"), *filter(None, (given or "").split(","))})
    assert proxy_bypass_environment("127.0.0.1:8080", {"no": os.environ["NO_PROXY"]})


def test_loopback_addresses():
    assert all(map(is_loopback, ("http://127.0.0.1:80", "http://127.8.8.8", "http://[::1]:80/x", "http://localhost")))
    assert not any(
        map(is_loopback, ("http://graph.example", "http://10.0.0.1", "127.0.0.1:80", "http://localhost.evil"))
    )
