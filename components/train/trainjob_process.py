"""What a process of a TrainJob does; torchrun starts it in each pod."""

import json
import os
from collections.abc import Mapping

from mmkgc.components.train.train import TrainConfig, train
from mmkgc.feature_store.opening import open_storage


def take_part(graph: str, features: Mapping[str, str], config: str, result: str) -> None:
    """Train as one process of a job; the main one writes to ``result`` what was published."""
    storage = open_storage()
    stored = train(graph, features, TrainConfig.model_validate_json(config), storage)
    if os.environ.get("RANK", "0") == "0":
        storage.write(result, json.dumps(stored._asdict()).encode())
