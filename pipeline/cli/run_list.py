"""The newest runs with their test MRR, and the mean over seeds of runs that differ in nothing else."""

from collections.abc import Iterator, Sequence
from statistics import mean, stdev
from typing import TYPE_CHECKING

from mmkgc.components.runtime.errors import UserError, printable
from mmkgc.pipeline.cli.table import aligned

if TYPE_CHECKING:
    from mlflow.entities import Run

SHOWN = 20
SEED = "train.seed"


def lines() -> Iterator[str]:
    """The runs as a table, newest first, then the groups of seeds."""
    from mmkgc.components.evaluate.tracked import begun, evaluated_runs, test_mrr

    runs = evaluated_runs(SHOWN)
    if not runs:
        raise UserError("mmkgc compare", "no run was evaluated yet", "run `mmkgc run countries` first")
    rows = []
    for run in runs:
        tags = run.data.tags
        named = run.info.run_name, tags.get("mmkgc.dataset", ""), begun(run), run.data.params.get(SEED, "")
        rows.append((run.info.run_id[:8], *named, f"{test_mrr(run):.4f}", tags.get("model", "")))
    yield from map(printable, aligned([("run", "name", "dataset", "began", "seed", "test MRR", "version"), *rows]))
    for group in seed_groups(runs):
        values = [value for run in group if (value := test_mrr(run)) is not None]
        spread = f"{mean(values):.4f} ± {stdev(values):.4f}"
        yield f"{printable(unseeded(group))}: test MRR {spread}, mean and standard deviation of {len(values)} seeds"


def unseeded(group: Sequence["Run"]) -> str:
    """Common name of runs: the shortest of theirs without the seed, in which a run of the recipe itself has none."""
    parts = (run.info.run_name.split(", ") for run in group)
    names = (", ".join(part for part in name if not part.startswith("seed=")) for name in parts)
    return min(filter(None, names), key=len, default=group[0].data.tags.get("mmkgc.dataset", "seeds"))


def seed_groups(runs: Sequence["Run"]) -> list[list["Run"]]:
    """Runs of one recipe whose parameters differ in the seed alone, in groups of two seeds or more.

    Of several runs with the same seed, the newest counts.
    """
    groups: dict[tuple[object, ...], dict[str, Run]] = {}
    for run in runs:
        others = tuple(sorted((name, value) for name, value in run.data.params.items() if name != SEED))
        alike = groups.setdefault((run.info.experiment_id, others), {})
        alike.setdefault(run.data.params.get(SEED, ""), run)
    return [list(group.values()) for group in groups.values() if len(group) > 1]
