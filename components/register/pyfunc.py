"""The model as MLflow serves it (``mlflow models serve``, ``mlflow.pyfunc.load_model``): MLflow runs this file.

Input: a table of queries with the columns ``head``, ``relation``, ``tail`` (keys or names; the one asked for is empty)
and optionally ``k``. Output: the answers of ``serving.engine`` as JSON text, one a row.
"""

import json
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel

from serving.engine import Engine


class Completer(PythonModel):
    """Answers completion queries with the bundle among the model's artifacts."""

    def load_context(self, context: Any) -> None:
        """Load the bundle; called once by MLflow, which looks for this very name."""
        self.engine = Engine.load(Path(context.artifacts["bundle"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> list[str]:
        """One JSON answer a row."""
        rows = model_input.to_dict("records")
        queries = [{key: value for key, value in row.items() if not pd.isna(value)} for row in rows]
        return [json.dumps(answer, ensure_ascii=False) for answer in self.engine.answer(queries)]


mlflow.models.set_model(Completer())
