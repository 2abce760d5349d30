"""What a process of a TrainJob does; torchrun starts it in each pod."""

import base64
import json
import os
from collections.abc import Mapping
from typing import Any

from mmkgc.components.train.train import TrainConfig, train
from mmkgc.feature_store.opening import open_storage


def packed(task: Mapping[str, Any]) -> str:
    """A task as letters and digits: the SDK writes it into a shell script, which would interpret ``$`` and quotes."""
    return base64.urlsafe_b64encode(json.dumps(task).encode()).decode()


def unpacked(task: str) -> dict[str, Any]:
    """The task that was ``packed``."""
    return json.loads(base64.urlsafe_b64decode(task))


def take_part(task: str) -> None:
    """Train as one process of a job; the main one writes to ``result`` of the task what was published."""
    given = unpacked(task)
    storage = open_storage()
    stored = train(given["graph"], given["features"], TrainConfig.model_validate_json(given["config"]), storage)
    if os.environ.get("RANK", "0") == "0":
        storage.write(given["result"], json.dumps(stored._asdict()).encode())
