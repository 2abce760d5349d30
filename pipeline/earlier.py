"""How long an earlier run with the same settings took on this machine, as MLflow remembers it."""

from typing import NamedTuple

from mmkgc.components.evaluate.tracked import begun
from mmkgc.components.runtime import processes, tracking
from mmkgc.components.runtime.progress import duration
from mmkgc.components.runtime.quoting import mlflow_literal
from mmkgc.components.train.forecast import SECONDS
from mmkgc.pipeline.config import Recipe


class Earlier(NamedTuple):
    """A run that ended well: its seconds from the first step to the last, and the local time at which it began."""

    seconds: float
    begun: str


def run_like(recipe: Recipe) -> Earlier | None:
    """The newest run on this machine with the settings of ``recipe`` (but for the seed) that trained a model.

    A run whose model came from the cache says nothing of the time. None if there is no such run.
    """
    api = tracking.client()
    experiment = api.get_experiment_by_name(recipe.name)
    if experiment is None:
        return None
    where = [experiment.experiment_id]
    alike = f"attributes.status = 'FINISHED' AND tags.`mmkgc.seed_group` = {mlflow_literal(recipe.seed_group)}"
    trained = "attributes.status = 'FINISHED' AND tags.`mmkgc.step` = 'train'"
    parents = {run.data.tags.get(tracking.PARENT_TAG) for run in api.search_runs(where, trained)}
    for run in api.search_runs(where, alike, order_by=["attributes.start_time DESC"]):
        here = processes.host(run.data.tags.get(tracking.PROCESS_TAG, "")) == processes.host(processes.identity())
        if here and run.info.run_id in parents:
            return Earlier((run.info.end_time - run.info.start_time) / 1000, begun(run))
    return None


def sentence(found: Earlier | None) -> str:
    """How long the run will take, and how that is known; where it is not, when it will be."""
    if found is None:
        return f"no such run has ended here before: how long it takes is told after {SECONDS:.0f} s of training"
    return (
        f"takes about {duration(found.seconds)}, as the run of {found.begun} did on this machine; less where a step is "
        "unchanged and comes from the cache"
    )
