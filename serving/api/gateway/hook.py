"""Receives MLflow's webhooks, which say that an alias of the model registry has moved.

A message makes the server look at the registry now instead of a few seconds later; what it says is not relied on. It
needs no API key, but MLflow's signature with a secret that both know.
"""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping

from fastapi import FastAPI, Request

from mmkgc.serving.api.gateway.refusal import Refusal

PATH = "/v1/hooks/registry"
MAX_BODY = 65_536
FRESH_SECONDS = 300  # older messages are refused: somebody may repeat them
UNSIGNED = Refusal(401, "unauthorized", "this takes MLflow's webhooks, signed with the secret of `mmkgc webhook add`")


def add_hook(app: FastAPI, secret: str, moved: Callable[[], object]) -> None:
    """Add the route of webhooks, which calls ``moved`` for each message that is signed with ``secret``."""

    @app.post(PATH, include_in_schema=False)
    async def hook(request: Request) -> dict[str, str]:
        if not is_signed(request.headers, await request.body(), secret, time.time()):
            raise UNSIGNED
        moved()
        return {"status": "ok"}


def is_signed(headers: Mapping[str, str], body: bytes, secret: str, now: float) -> bool:
    """Whether MLflow has signed ``body`` with ``secret``, at most five minutes before or after ``now``.

    The signature is ``v1,`` and the base64 of HMAC-SHA256(secret, "delivery-id.timestamp.body"), as MLflow documents.
    """
    delivery, written = headers.get("x-mlflow-delivery-id", ""), headers.get("x-mlflow-timestamp", "")
    if not (written.isascii() and written.isdigit() and abs(now - int(written)) <= FRESH_SECONDS):
        return False
    signed = f"{delivery}.{written}.".encode() + body
    expected = b"v1," + base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest())
    return hmac.compare_digest(headers.get("x-mlflow-signature", "").encode(), expected)
