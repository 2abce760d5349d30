"""Writes the committed OpenAPI description: ``python -m mmkgc.serving.api.gateway.openapi``."""

from pathlib import Path

from mmkgc.components.runtime.files import write_json
from mmkgc.serving.api.gateway.app import create_app
from mmkgc.serving.api.gateway.routes import schema
from mmkgc.serving.api.gateway.upstream import TorchServeModel

FILE = Path(__file__).with_name("openapi.json")

if __name__ == "__main__":
    write_json(FILE, schema(create_app(TorchServeModel("http://127.0.0.1"), [])))
