"""Cells of an experiment: one recipe with one seed, trained and measured in this process, without the other steps.

Several cells of one dataset share its graph and features (``prepare``), which are stored under the digests of their
content. A cell that was killed continues after its last checkpoint when it is run again.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any, TypeVar

from torch import Tensor

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.extract.extract import extract
from mmkgc.components.ingest.ingest import ingest
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.evaluation.metrics import TIES, QueryRanks, metrics_by_side
from mmkgc.components.kge.evaluation.ranks import Scorer, rank
from mmkgc.components.kge.graph import Graph, KnownTriples
from mmkgc.components.runtime.progress import track
from mmkgc.components.train.train import train
from mmkgc.feature_store.storage import Storage
from mmkgc.pipeline.config import Recipe

Row = dict[str, Any]
Job = TypeVar("Job")


@dataclass(frozen=True)
class Inputs:
    """URIs of a dataset's graph and of the features of its entities by modality."""

    graph: str
    features: Mapping[str, str]


@dataclass(frozen=True)
class Trained:
    """A trained cell: URI of its bundle, the bundle, and the seconds that this call took, resumed work not included."""

    uri: str
    bundle: Bundle
    seconds: float


def prepare(recipe: Recipe, storage: Storage) -> Inputs:
    """Graph and features of the recipe's dataset; what the store has already is not computed again."""
    graph = ingest(recipe.dataset, recipe.ingest, storage).uri
    return Inputs(graph, {m: extract(graph, m, recipe.extract, storage).uri for m in recipe.extract.modalities()})


def train_cell(recipe: Recipe, inputs: Inputs, storage: Storage) -> Trained:
    """Train the recipe with its seed; the bundle goes to the store, its metrics to MLflow (see the train step)."""
    begun = time.monotonic()
    uri = train(inputs.graph, inputs.features, recipe.train, storage).uri
    return Trained(uri, Bundle.load(storage.fetch(uri)), time.monotonic() - begun)


def in_processes(
    measure: Callable[[Job], Row], jobs: Sequence[Job], workers: int, alone: bool = False
) -> Iterator[Row]:
    """What ``measure`` gives for each job, in the order in which they end.

    ``workers`` above 1: jobs run in as many processes. ``alone``: each has a process of its own.
    """
    if workers < 2 and not alone:
        yield from map(measure, jobs)
    elif jobs:
        tasks = 1 if alone else None
        with ProcessPoolExecutor(workers, get_context("spawn"), max_tasks_per_child=tasks) as pool:
            yield from (done.result() for done in as_completed([pool.submit(measure, job) for job in jobs]))


def threads_of(workers: int) -> int | None:
    """Threads of each of several ``workers``; None for one, which has PyTorch's default."""
    return max(1, len(os.sched_getaffinity(0)) // workers) if workers > 1 else None


def test_metrics(model: Scorer, inputs: Inputs, recipe: Recipe, storage: Storage) -> dict[str, dict[str, Any]]:
    """Filtered metrics of the test split by treatment of ties and by side: ``["realistic"]["both"]["mrr"]``.

    ``optimistic`` are the ranks of the OpenKE protocol.
    """
    graph = MMKG.load(storage.fetch(inputs.graph)).graph
    return _metrics(model, graph, recipe, graph.test, graph.all_triples)


def development_metrics(model: Scorer, inputs: Inputs, recipe: Recipe, storage: Storage) -> dict[str, dict[str, Any]]:
    """As ``test_metrics``, of the development split; no test triple is used, not even in the filter."""
    graph = MMKG.load(storage.fetch(inputs.graph)).graph
    return _metrics(model, graph, recipe, graph.valid, graph.selection_triples)


def _metrics(model: Scorer, graph: Graph, recipe: Recipe, triples: Tensor, true: Tensor) -> dict[str, dict[str, Any]]:
    known = KnownTriples(true, len(graph.entities), len(graph.relations))
    progress = partial(track, description="rank", unit="batch")
    queries = QueryRanks.of(rank(model, triples, known, recipe.evaluate.batch_size, progress))
    return {ties: metrics_by_side(queries, recipe.evaluate.hits, ties) for ties in TIES}
