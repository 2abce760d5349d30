"""The clients of applications."""

import subprocess
import sys

import anyio
import pytest

from mmkgc.client import AsyncClient, Client, Unreachable

NOBODY = "http://127.0.0.1:9"


def test_the_client_imports_none_of_the_heavy_packages():
    code = "import sys, mmkgc.client; print([m for m in ('torch', 'mlflow', 'kfp', 'pandas') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_no_answer_has_the_status_0():
    with Client(NOBODY, "a-key", retries=0) as client, pytest.raises(Unreachable, match="no answer from") as caught:
        client.model()
    assert caught.value.status == 0

    async def asked():
        async with AsyncClient(NOBODY, "a-key", retries=0) as client:
            await client.relations()

    with pytest.raises(Unreachable):
        anyio.run(asked)
