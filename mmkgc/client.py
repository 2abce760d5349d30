"""Clients of the gateway for applications: ``Client`` and ``AsyncClient``. Imports no PyTorch.

from mmkgc.client import Client

with Client("http://127.0.0.1:8080", key) as client:
    print(client.complete({"head": "Norway", "relation": "borders"}).predictions[0].name)
"""

from mmkgc.serving.api.client import AsyncClient, Client, ClientError, QueryFailed, Unreachable
from mmkgc.serving.api.protocol import Completion, Failed, Prediction, Query, Scored, Unseen

__all__ = [
    "AsyncClient",
    "Client",
    "ClientError",
    "Completion",
    "Failed",
    "Prediction",
    "Query",
    "QueryFailed",
    "Scored",
    "Unreachable",
    "Unseen",
]
