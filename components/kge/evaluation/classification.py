"""Triple classification: thresholds on scores, chosen on the development split, separate true from false triples."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmkgc.components.kge.evaluation.corruptions import PlausibleNegatives, UniformNegatives
from mmkgc.components.kge.graph import RELATION, Graph, KnownTriples

RARE = 10
"""A relation with fewer scored development triples than this uses the global threshold."""
BLOCK = 4096


@dataclass(frozen=True)
class LabelledTriples:
    """Positives and as many negatives: ``triples`` ``[T, 3]``, ``labels`` bool ``[T]``, ``scores`` float64 ``[T]``."""

    triples: Tensor
    labels: Tensor
    scores: Tensor

    @classmethod
    def of(cls, model: Any, positives: Tensor, negatives: Tensor) -> "LabelledTriples":
        """Score both."""
        triples = torch.cat([positives, negatives])
        labels = torch.arange(len(triples)) < len(positives)
        return cls(triples, labels, triple_scores(model, triples))


@dataclass(frozen=True)
class LabelledSplits:
    """Development and test triples with a plausible negative each; and test triples with a uniform one (``mans``)."""

    valid: LabelledTriples
    test: LabelledTriples
    mans: LabelledTriples


def labelled_splits(model: Any, graph: Graph, seed: int) -> LabelledSplits:
    """Development and test triples, each with one seeded negative.

    Negatives of the development split may be test triples; excluding them would leak test into the thresholds.
    """
    sizes = len(graph.entities), len(graph.relations)
    source = PlausibleNegatives(graph.train, *sizes)
    seen = KnownTriples(torch.cat([graph.train, graph.valid]), *sizes)
    valid = source.pair(graph.valid, seen, seed)
    everything = KnownTriples(graph.all_triples, *sizes)
    test, mans = (
        negatives.pair(graph.test, everything, seed + 1) for negatives in (source, UniformNegatives(sizes[0]))
    )
    return LabelledSplits(*(LabelledTriples.of(model, *pairs) for pairs in (valid, test, mans)))


@torch.no_grad()
def triple_scores(model: Any, triples: Tensor) -> Tensor:
    """Scores of ``triples`` ``[T, 3]``, in blocks: float64 ``[T]`` on the CPU."""
    device = next(model.parameters()).device
    blocks = [model.score_triples(block.to(device)).double().cpu() for block in triples.split(BLOCK)]
    return torch.cat(blocks) if blocks else torch.empty(0, dtype=torch.float64)


def best_threshold(scores: Tensor, labels: Tensor) -> float:
    """Threshold δ with the highest accuracy of "true when score ≥ δ"; the lowest of equally good ones.

    It is halfway between two neighbouring distinct scores (or the lowest score: all true), so that it generalises to
    other scores.
    """
    levels, inverse = torch.unique(scores, return_inverse=True)
    gain = torch.zeros_like(levels).index_add(0, inverse, torch.where(labels, 1.0, -1.0).to(levels))
    kept = gain.flip(0).cumsum(0).flip(0)  # positives minus negatives at or above each level
    best = int(kept.argmax())
    if kept[best] < 0:
        return float("inf")
    return float(levels[best] if best == 0 else (levels[best - 1] + levels[best]) / 2)


def relation_thresholds(valid: LabelledTriples, n_relations: int) -> Tensor:
    """Threshold δ_r of every relation ``[R]``; rare relations use the best global threshold."""
    thresholds = torch.full((n_relations,), best_threshold(valid.scores, valid.labels), dtype=torch.float64)
    for relation in torch.unique(valid.triples[:, RELATION]).tolist():
        of_relation = valid.triples[:, RELATION] == relation
        if of_relation.sum() >= RARE:
            thresholds[relation] = best_threshold(valid.scores[of_relation], valid.labels[of_relation])
    return thresholds


def classification_metrics(predicted: Tensor, labels: Tensor) -> dict[str, float]:
    """Accuracy, precision, recall and F1 of bool predictions ``[T]``; 0 where a ratio has an empty denominator."""
    hits = float((predicted & labels).sum())
    precision = hits / max(int(predicted.sum()), 1)
    recall = hits / max(int(labels.sum()), 1)
    f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
    accuracy = float((predicted == labels).double().mean())
    return {"accuracy": accuracy, "precision": precision, "recall": recall, "f1": f1}


def classify(splits: LabelledSplits, n_relations: int) -> dict[str, dict[str, float]]:
    """Metrics of the test triples under both protocols.

    ``standard``: plausible negatives, and thresholds per relation chosen on the development split. ``mans``: as
    in the code of the MANS paper, uniform negatives and one threshold chosen on the test scores themselves; it is
    optimistic and only for comparison with published numbers (their Table III).
    """
    test, mans = splits.test, splits.mans
    thresholds = relation_thresholds(splits.valid, n_relations)[test.triples[:, RELATION]]
    return {
        "standard": classification_metrics(test.scores >= thresholds, test.labels),
        "mans": classification_metrics(mans.scores >= best_threshold(mans.scores, mans.labels), mans.labels),
    }
