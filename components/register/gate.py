"""The promotion gate: a paired comparison of champion and challenger on the same queries with the same filter."""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmkgc.components.evaluate.slices import query_kinds
from mmkgc.components.kge.evaluation.bootstrap import Interval, interval, resampled_means
from mmkgc.components.kge.evaluation.metrics import QueryRanks
from mmkgc.components.kge.evaluation.ranks import Scorer, rank
from mmkgc.components.kge.graph import HEAD, RELATION, Graph, KnownTriples
from mmkgc.components.register.config import GateConfig
from mmkgc.components.register.questions import Contender, Questions, shared_questions
from mmkgc.components.runtime.nouns import counted

SLICES = ("relation", "answer modalities")
TIMED_QUERIES = 20
NO_INTERVAL = Interval(0.0, 0.0)


@dataclass(frozen=True)
class Costs:
    """Serving costs of the challenger: median milliseconds of one query and megabytes of its bundle."""

    latency_ms: float
    size_mb: float


@dataclass(frozen=True)
class Decision:
    """The promotion record: the gate's decision, its reasons and its metrics."""

    champion: str
    challenger: str
    objections: tuple[str, ...]
    queries: int = 0
    left_out: int = 0
    trained_on: int = 0
    mrr_champion: float = 0.0
    mrr_challenger: float = 0.0
    gain: float = 0.0
    interval: Interval = NO_INTERVAL
    costs: Costs | None = None
    slices: tuple[dict[str, Any], ...] = field(default_factory=tuple)
    feedback: dict[str, Any] | None = None

    @property
    def promoted(self) -> bool:
        """Whether there are no objections."""
        return not self.objections

    @property
    def reason(self) -> str:
        """One sentence: the measured gain, or the objections."""
        if self.objections:
            return "; ".join(self.objections)
        low, high = self.interval
        return (
            f"MRR {self.mrr_challenger:.4f} against {self.mrr_champion:.4f} of {self.champion} "
            f"on {self.queries} development queries: +{self.gain:.4f} [{low:.4f}, {high:.4f}]"
        )

    def record(self) -> dict[str, Any]:
        """The decision as JSON."""
        return {"promoted": self.promoted, "reason": self.reason} | asdict(self)


def decide(
    graph: Graph,
    masks: dict[str, Tensor],
    challenger: Contender,
    champion: Contender,
    costs: Costs,
    config: GateConfig,
) -> Decision:
    """Compare both models on the gate queries of the challenger's ``graph`` and decide.

    The queries are its development split without the train triples of either model; candidates are the entities that
    both models know. Both models use the same filter: that split and the train triples of both. ``masks``
    ``{modality: bool [N]}`` in the ids of ``graph`` define the missing-modality slices.
    """
    questions = shared_questions(graph, (challenger, champion))
    named: dict[str, Any] = {
        "champion": champion.label,
        "challenger": challenger.label,
        "left_out": questions.left_out,
        "trained_on": questions.trained_on,
    }
    if refusal := _refusal(questions, challenger, config):
        return Decision(objections=(refusal,), **named)
    before, after = (_queries(contender, questions.graph) for contender in (champion, challenger))
    gains = 1 / after.realistic - 1 / before.realistic
    bounds = interval(resampled_means(gains, after.triple, config.resamples, config.seed), config.confidence)
    slices = _slice_gains(after, gains, questions.graph, _shared_masks(masks, graph, questions.graph), config)
    return Decision(
        objections=tuple(_objections(gains.mean(), bounds, slices, costs, champion, config)),
        queries=len(after),
        mrr_champion=float((1 / before.realistic).mean()),
        mrr_challenger=float((1 / after.realistic).mean()),
        gain=float(gains.mean()),
        interval=bounds,
        costs=costs,
        slices=tuple(slices),
        **named,
    )


def _refusal(questions: Questions, challenger: Contender, config: GateConfig) -> str | None:
    """Why the comparison is impossible; None if it is possible."""
    total = questions.left_out + questions.trained_on + len(questions.graph.valid)
    for label, words in questions.uncovered.items():
        if label == challenger.label or questions.left_out > config.max_uncovered * total:
            some = ", ".join(words[:5]) + (f" and {len(words) - 5} more" if len(words) > 5 else "")
            return (
                f"{label} does not know {some}, which {questions.left_out} of {counted(total, 'gate triple')} are about"
            )
    if not len(questions.graph.valid):
        return "no gate queries are left: every development triple is in the training set of one of the models"
    return None


def _objections(
    gain: float,
    bounds: Interval,
    slices: list[dict[str, Any]],
    costs: Costs,
    champion: Contender,
    config: GateConfig,
) -> Iterator[str]:
    if gain < config.min_gain or bounds.low <= 0:
        shown = f"{gain:+.4f} MRR [{bounds.low:+.4f}, {bounds.high:+.4f}]"
        least = f", the gain at least {config.min_gain:g}" if config.min_gain else ""
        yield f"no sure gain over {champion.label} on development queries: {shown}; the low end must be above 0{least}"
    for part in slices:
        if part["gain"] < -config.max_slice_loss:
            on = counted(part["queries"], "query")
            yield f"{part['kind']} '{part['value']}' loses {-part['gain']:.4f} MRR on {on}"
    if costs.latency_ms > config.max_latency_ms:
        yield f"a query takes {costs.latency_ms:.0f} ms, the budget is {config.max_latency_ms:g} ms"
    if costs.size_mb > config.max_size_mb:
        yield f"the bundle has {costs.size_mb:.0f} MB, the budget is {config.max_size_mb:g} MB"


def _queries(contender: Contender, graph: Graph) -> QueryRanks:
    known = KnownTriples(graph.all_triples, len(graph.entities), len(graph.relations))
    model = contender.within(graph.entities, graph.relations)
    return QueryRanks.of(rank(model, graph.valid, known))


def _slice_gains(
    queries: QueryRanks, gains: NDArray[np.float64], graph: Graph, masks: dict[str, Tensor], config: GateConfig
) -> list[dict[str, Any]]:
    """Gain in MRR of every slice with enough queries, lowest gain first."""
    kinds = query_kinds(queries, graph.valid, graph, masks)
    found = [
        {"kind": kind, "value": str(value), "queries": int(members.sum()), "gain": float(gains[members].mean())}
        for kind in SLICES
        for value in np.unique(kinds[kind].astype(str))
        if (members := kinds[kind] == value).sum() >= config.min_slice_queries
    ]
    return sorted(found, key=lambda part: part["gain"])


def _shared_masks(masks: dict[str, Tensor], graph: Graph, shared: Graph) -> dict[str, Tensor]:
    rows = torch.tensor([graph.entities.ids[key] for key in shared.entities.keys])
    return {modality: mask[rows] for modality, mask in masks.items()}


@torch.no_grad()
def query_latency_ms(model: Scorer, triples: Tensor) -> float:
    """Median milliseconds of one tail query with its top 10 answers, over up to 20 ``triples``, after a warm-up."""
    times = []
    for triple in triples[: TIMED_QUERIES + 1]:
        begun = time.perf_counter()
        scores = model.score_tails(triple[HEAD, None], triple[RELATION, None])
        scores.topk(min(10, scores.shape[1]))
        times.append(1000 * (time.perf_counter() - begun))
    return median(times[1:] or times)
