"""Cells of an experiment: one recipe with one seed, trained and measured in this process, without the other steps.

Several cells of one dataset share its graph and features (``prepare``), which are stored under the digests of their
content. A cell that was killed continues after its last checkpoint when it is run again; one whose training had ended
is not trained again.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.extract.extract import extract
from mmkgc.components.ingest.ingest import ingest
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.evaluation.metrics import TIES, QueryRanks, metrics_by_side
from mmkgc.components.kge.evaluation.ranks import Scorer, rank
from mmkgc.components.kge.graph import Graph, KnownTriples
from mmkgc.components.runtime import digests
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.files import read_json, write_json
from mmkgc.components.runtime.progress import track
from mmkgc.components.runtime.settings import Settings
from mmkgc.components.train.train import train
from mmkgc.feature_store.storage import Storage
from mmkgc.pipeline.config import Recipe

MEASURED = ("components", "feature_store")  # the code that a cell depends on, beside its recipe
Row = dict[str, Any]
Job = TypeVar("Job")


@dataclass(frozen=True)
class Inputs:
    """URIs of a dataset's graph and of the features of its entities by modality."""

    graph: str
    features: Mapping[str, str]


@dataclass(frozen=True)
class Trained:
    """A trained cell: URI of its bundle, the bundle, and what its training took; after a kill, what the rest took.

    ``memory``: peak in bytes, of the GPU if there is one; None where the system does not tell it.
    """

    uri: str
    bundle: Bundle
    seconds: float
    memory: int | None


def prepare(recipe: Recipe, storage: Storage) -> Inputs:
    """Graph and features of the recipe's dataset; what the store has already is not computed again."""
    graph = ingest(recipe.dataset, recipe.ingest, storage).uri
    return Inputs(graph, {m: extract(graph, m, recipe.extract, storage).uri for m in recipe.extract.modalities()})


def train_cell(recipe: Recipe, inputs: Inputs, storage: Storage) -> Trained:
    """Train the recipe with its seed; the bundle goes to the store, its metrics to MLflow (see the train step).

    What was trained is noted in the scratch folder, so that a process that is killed while it ranks keeps it.
    """
    made_from = [recipe.train.model_dump(mode="json"), asdict(inputs), digests.of_code(*MEASURED)]
    note = Settings.from_env().scratch / "cells" / f"{digests.of_json(made_from)[:16]}.json"
    with suppress(OSError, ValueError, UserError):  # no note, or its bundle is not in the store any more
        noted = read_json(note)
        return Trained(noted["uri"], Bundle.load(storage.fetch(noted["uri"])), noted["seconds"], noted["memory"])
    _reset_peak_memory()
    begun = time.monotonic()
    uri = train(inputs.graph, inputs.features, recipe.train, storage).uri
    seconds, memory = time.monotonic() - begun, _peak_memory()
    write_json(note, {"uri": uri, "seconds": seconds, "memory": memory})
    return Trained(uri, Bundle.load(storage.fetch(uri)), seconds, memory)


def _reset_peak_memory() -> None:
    """Let the peak of this process's memory begin at its present memory (Linux)."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):  # not Linux, or not permitted: the peak is then that of the whole life of the process
        Path("/proc/self/clear_refs").write_text("5")


def _peak_memory() -> int | None:
    """Peak memory of this process in bytes, or of the GPU; None where the system does not tell it."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), None)


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
