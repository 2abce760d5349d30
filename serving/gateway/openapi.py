"""Writes the committed OpenAPI description: ``python -m serving.gateway.openapi``."""

from pathlib import Path

from components.runtime.files import write_json
from serving.gateway.app import create_app
from serving.gateway.routes import schema
from serving.gateway.upstream import TorchServeModel

FILE = Path(__file__).with_name("openapi.json")

if __name__ == "__main__":
    write_json(FILE, schema(create_app(TorchServeModel("http://127.0.0.1"), [])))
