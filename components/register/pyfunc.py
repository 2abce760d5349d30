"""The MLflow pyfunc model (``mlflow models serve``, ``mlflow.pyfunc.load_model``); MLflow runs this file.

Input: a table of queries with the columns ``head``, ``relation``, ``tail`` (keys or names; the missing one is empty).
An entity outside the graph is given by ``head_text``, ``head_image`` (bytes or base64), ``head_numbers``
(JSON), ``tail_text``, … instead: one column per modality and side. Further columns are the options of a query: ``k``,
``exclude_known``, ``type``, …; an empty cell is the default. Output: the answers of ``mmkgc.serving.engine.engine`` as
JSON text, one per row.
"""

import json
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel
from pandas.api.types import is_scalar

from mmkgc.components.dataset.modalities import MODALITIES
from mmkgc.serving.engine.engine import Engine


class Completer(PythonModel):
    """Answers completion queries with the bundle among the model's artifacts."""

    def load_context(self, context: Any) -> None:
        """Load the bundle; MLflow calls this method once, by its name."""
        self.engine = Engine.load(Path(context.artifacts["bundle"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> list[str]:
        """One JSON answer per row."""
        queries = [query_of(row) for row in model_input.to_dict("records")]
        return [json.dumps(answer, ensure_ascii=False) for answer in self.engine.answer(queries)]


def query_of(row: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
    """The query in a row of the table; the engine validates it."""
    query = {column: value for column, value in row.items() if not (is_scalar(value) and pd.isna(value))}
    for part in ("head", "tail"):
        if part not in query:
            cells = {kind: query.pop(f"{part}_{kind.field}", None) for kind in MODALITIES.values()}
            described = {kind.field: kind.from_cell(cell) for kind, cell in cells.items() if cell is not None}
            query |= {part: described} if any(described.values()) else {}
    return query


mlflow.models.set_model(Completer())
