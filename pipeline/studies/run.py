"""Runs the cells of a study: in parallel, resumed after a kill, all under one MLflow run."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.kge.evaluation.baseline import RelationPopularity
from mmkgc.components.runtime.progress import Meter
from mmkgc.feature_store.opening import open_storage
from mmkgc.pipeline import cells as library
from mmkgc.pipeline.bench import append_row, key_of, read_rows
from mmkgc.pipeline.cells import Inputs, Row, in_processes, threads_of
from mmkgc.pipeline.config import Recipe
from mmkgc.pipeline.studies.config import Cell
from mmkgc.pipeline.studies.measure import Job, measured, named


def run(cells: Sequence[Cell], file: Path, test: bool, workers: int = 1, alone: bool = False) -> list[Row]:
    """The rows of all cells, in their order; those in ``file`` of the same recipe, data and code are not run again.

    ``alone``: each cell has a process of its own, for a fair measure of memory.
    """
    workers = min(workers, len(cells))
    jobs = [
        Job(key_of(cell.recipe, inputs, test), cell, inputs, test, threads_of(workers))
        for cell, inputs in zip(cells, _inputs(cell.recipe for cell in cells), strict=True)
    ]
    found = {row["key"]: row for row in read_rows(file) if "problem" not in row}
    left = [job for job in jobs if job.key not in found]
    meter = Meter("study", len(jobs), "cell", len(jobs) - len(left))
    for row in in_processes(measured, left, workers, alone):
        append_row(file, row)
        found[row["key"]] = row
        meter.advance(note=row.get("problem", ""))
        _say(row, meter)
    meter.finish()
    return [found[job.key] | {"system": job.cell.system, "value": job.cell.value} for job in jobs]


def popularity(graph_uri: str, recipe: Recipe) -> dict[str, float]:
    """Test metrics of relation popularity on a graph, ranked as the recipe says."""
    storage = open_storage()
    baseline = RelationPopularity(MMKG.load(storage.fetch(graph_uri)).graph)
    return named(library.test_metrics(baseline, Inputs(graph_uri, {}), recipe, storage), "realistic", "test")


def _inputs(recipes: Iterable[Recipe]) -> Iterator[Inputs]:
    """Graph and features of each recipe; equal ones are prepared once."""
    storage, prepared = open_storage(), dict[str, Inputs]()
    for recipe in recipes:
        key = recipe.model_dump_json(include={"dataset", "ingest", "extract"})
        if key not in prepared:
            prepared[key] = library.prepare(recipe, storage)
        yield prepared[key]


def _say(row: Row, meter: Meter) -> None:
    """One line about a cell that has ended."""
    label = ", ".join(filter(None, [row["system"], row["value"], f"seed {row['seed']}"]))
    found = row.get("problem") or f"dev MRR {100 * row['metrics'].get('dev/mrr', float('nan')):.2f}"
    print(f"{meter.done} of {meter.total}: {label}: {found}", file=sys.stderr, flush=True)
