"""The view of runs that `mmkgc ui` links. In MLflow a shared view is a tag of the experiment; links name its key.

MLflow documents neither tag nor content; they are what version 3.17 writes when a person shares a view. A version that
reads something else shows its own view.
"""

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

KEY = "mmkgc"
TAG = f"mlflow.sharedViewState.{KEY}"
METRICS = ("test/mrr", "test/mrr_low", "test/mrr_high", "test/hits_at_10", "dev/best_mrr", "baseline/mrr")
PARAMETERS = (
    "train.model.interaction.name",
    "train.model.fusion.name",
    "train.negatives.name",
    "train.loss.name",
    "train.epochs",
    "train.seed",
)
ATTRIBUTES = ("Dataset", "Source", "Models")
WHOLE = "tags.`mmkgc.step` IS NULL"  # runs of pipelines; steps, trials and promotions have runs of their own


def state() -> dict[str, Any]:
    """The table of the pipelines' runs: best test MRR first, its bounds, and parameters that tell runs apart."""
    columns = [f"attributes.`{name}`" for name in ATTRIBUTES]
    columns += [f"metrics.`{name}`" for name in METRICS] + [f"params.`{name}`" for name in PARAMETERS]
    return {
        "orderByKey": "metrics.`test/mrr`",
        "orderByAsc": False,
        "searchFilter": WHOLE,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
        "runsHiddenMode": "FIRST_10_RUNS",
        "hideEmptyCharts": True,
    }


def shared(api: "MlflowClient", experiment: "Experiment") -> str | None:
    """Key of the view of an experiment, which gets the tag if it has not got it; None if that is not allowed."""
    from mlflow.exceptions import MlflowException

    view = json.dumps(state())
    if experiment.tags.get(TAG) != view:
        try:
            api.set_experiment_tag(experiment.experiment_id, TAG, view)
        except MlflowException:  # on a server, perhaps only reading is allowed
            return None
    return KEY
