"""TorchServe's entry point: passes requests to the engine and returns its answers.

REST and gRPC predictions contain the JSON of ``serving.engine.service``. Requests of the Open Inference Protocol
contain the same queries as one BYTES tensor of JSON texts, and their answers have the same form.
"""

import gc
import json
import logging
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from mmkgc.serving.api.wire import split
from mmkgc.serving.engine.engine import Engine, Report
from mmkgc.serving.engine.service import Response, respond
from mmkgc.serving.torchserve.archive import BUNDLE
from mmkgc.serving.torchserve.meter import Meter

_engine: Engine | None = None
_meter: Meter | None = None


def handle(data: list[dict[str, Any]] | None, context: Any) -> list[bytes]:
    """Load the model on the first call, which has no data; on later calls answer a batch of requests."""
    global _engine, _meter
    if data is None or _engine is None or _meter is None:
        _quiet()
        model = context.manifest["model"]
        folder = Path(context.system_properties["model_dir"]) / BUNDLE
        _engine = Engine.load(folder, model["modelName"], model["modelVersion"])
        _engine.warm_up()
        _meter = Meter(context.metrics, _engine.version)
        gc.freeze()  # exclude the loaded objects, which live as long as the process, from garbage collection
        return []
    bodies = [_body(row) for row in data]
    report = Report()
    responses = respond(_engine, [_queries(body) if is_open_inference(body) else body for body in bodies], report)
    _meter.add(report)
    return [
        _written(context, place, _tensor(body, response) if is_open_inference(body) else response)
        for place, (body, response) in enumerate(zip(bodies, responses, strict=True))
    ]


def is_open_inference(body: Any) -> bool:
    """Whether a request has the form of the Open Inference Protocol."""
    return isinstance(body, dict) and "inputs" in body


def _body(row: dict[str, Any]) -> Any:
    """The JSON of one request: the key ``body`` or ``data``, or the row itself; ``None`` if it is not valid JSON."""
    value = next((row[name] for name in ("body", "data") if name in row), row)
    if isinstance(value, bytes | bytearray | str):
        try:
            return json.loads(value)
        except ValueError:
            return None
    return value


def _queries(body: dict[str, Any]) -> Any:
    try:
        (tensor,) = body["inputs"]
        return {"queries": [json.loads(text) for text in tensor["data"]]}
    except (ValueError, TypeError, KeyError):
        return None


def _tensor(body: dict[str, Any], response: Response) -> Response:
    if response.status != 200:
        return response
    model, answers = split(response.body)
    output = {"name": "answers", "datatype": "BYTES", "shape": [len(answers)], "data": answers}
    own = str(body.get("id", "")).encode(errors="replace").decode()  # a lone surrogate cannot be encoded as UTF-8
    names = {"model_name": model["name"], "model_version": model["version"], "id": own}
    return Response(200, to_json(names | {"outputs": [output]}))


def _written(context: Any, place: int, response: Response) -> bytes:
    context.set_response_content_type(place, "application/json")
    if response.status != 200:
        context.set_response_status(code=response.status, phrase="Refused", idx=place)
    return response.body


def _quiet() -> None:
    """Suppress the log lines of requests, but not metrics, which TorchServe receives as log lines."""
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger("ts.metrics.caching_metric").setLevel(logging.INFO)
