"""Comparison of two runs by a paired bootstrap over the test triples that both ranked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mmkgc.components.kge.evaluation.bootstrap import Interval, interval, mean_metrics, resampled_means
from mmkgc.components.kge.evaluation.metrics import SIDES, Side
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.files import read_json

IDENTITY = ("head", "relation", "tail", "asked", "candidates")


@dataclass(frozen=True)
class Judged:
    """An evaluated run: realistic ranks ``[Q]`` in an order that depends only on the test split."""

    label: str
    identity: list[tuple]
    triple: NDArray[np.int64]
    side: NDArray[np.str_]
    ranks: NDArray[np.float64]
    kinds: dict[str, NDArray[np.str_]]
    ks: tuple[int, ...]

    @classmethod
    def read(cls, label: str, folder: Path) -> "Judged":
        """Read the folder of an evaluation."""
        table = pq.read_table(folder / "ranks.parquet")
        columns = {name: np.asarray(table[name].to_pylist()) for name in table.column_names}
        order = np.lexsort([columns[name] for name in IDENTITY])
        columns = {name: values[order] for name, values in columns.items()}
        names = read_json(folder / "metrics.json")["metrics"]["realistic"]["both"]
        return cls(
            label=label,
            identity=list(zip(*(columns[name].tolist() for name in IDENTITY), strict=True)),
            triple=columns["triple"],
            side=columns["asked"],
            ranks=columns["realistic"],
            kinds={
                kind: columns[kind] for kind in ("relation", "category", "answer degree", "answer modalities", "unseen")
            },
            ks=tuple(int(name.removeprefix("hits_at_")) for name in names if name.startswith("hits_at_")),
        )


class Delta(NamedTuple):
    """Change of a metric from one run to another over some queries, with its paired-bootstrap interval."""

    what: str
    metric: str
    queries: int
    before: float
    after: float
    bounds: Interval

    @property
    def is_sure(self) -> bool:
        """Whether the interval excludes zero."""
        return self.bounds.low > 0 or self.bounds.high < 0


@dataclass(frozen=True)
class Bootstrap:
    """Settings of the bootstrap intervals."""

    resamples: int = 2000
    confidence: float = 0.95
    seed: int = 0


def check_same_queries(runs: Sequence[Judged]) -> None:
    """Raise UserError unless all runs have the same queries with the same number of candidates."""
    for run in runs[1:]:
        if run.identity != runs[0].identity:
            only = len(set(run.identity) - set(runs[0].identity)) or abs(len(run.identity) - len(runs[0].identity))
            mend = "compare runs on one dataset version, or evaluate both models on the same graph"
            raise UserError(
                run.label, f"{only:,} of its {len(run.identity):,} queries are not those of {runs[0].label}", mend
            )


def overall(run: Judged) -> float:
    """MRR over all queries."""
    return float((1 / run.ranks).mean())


def deltas(before: Judged, after: Judged, draws: Bootstrap) -> list[Delta]:
    """Change of every metric for head, tail and both."""
    return [
        _delta(before, after, _on(before, side), metric, side, draws)
        for metric in mean_metrics(before.ranks, before.ks)
        for side in SIDES
    ]


def slice_deltas(before: Judged, after: Judged, kind: str, draws: Bootstrap) -> list[Delta]:
    """Change of MRR for every value of a slice, the largest slice first."""
    values, counts = np.unique(before.kinds[kind], return_counts=True)
    ordered = values[np.argsort(-counts, kind="stable")]
    return [_delta(before, after, before.kinds[kind] == value, "mrr", str(value), draws) for value in ordered]


def _on(run: Judged, side: Side) -> NDArray[np.bool_]:
    return np.ones(len(run.side), dtype=bool) if side == "both" else run.side == side


def _delta(
    before: Judged, after: Judged, members: NDArray[np.bool_], metric: str, what: str, draws: Bootstrap
) -> Delta:
    old, new = (mean_metrics(run.ranks[members], before.ks)[metric] for run in (before, after))
    samples = resampled_means(new - old, before.triple[members], draws.resamples, draws.seed)
    bounds = interval(samples, draws.confidence)
    return Delta(what, metric, int(members.sum()), float(old.mean()), float(new.mean()), bounds)
