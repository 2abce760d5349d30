"""How well are the probabilities of a registered model's answers calibrated, also by relation?

    python tests/benchmarks/reliability.py [MODEL]

The champion of MODEL (default: the model promoted last) answers the test queries of its graph; the ten best unknown
answers of each are right or wrong. Prints, of all answers and of the first of each query, the expected calibration
error (ten groups of equal size) and what it would be by chance if every probability were exactly right; then of all
answers by relation and side, |mean probability − share of right ones| weighted by the number of answers, and the slots
with the largest gaps.
"""

import sys

import numpy as np

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.evaluate.reliability import Reliability
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.evaluation.calibration import error_by_chance, expected_error
from mmkgc.feature_store.opening import open_storage
from mmkgc.pipeline.cli.champion import choose

LEAST = 200  # answers of a slot that is listed


def main() -> None:
    """Measure one model."""
    chosen = choose(sys.argv[1] if len(sys.argv) > 1 else None, "champion", None)
    assert chosen.graph_uri
    bundle, graph = Bundle.load(chosen.bundle), MMKG.load(open_storage().fetch(chosen.graph_uri)).graph
    found = Reliability.of(bundle, graph)
    for name, rows in (("all", np.ones_like(found.first)), ("first", found.first)):
        p, right = found.probabilities[rows], found.right[rows]
        print(
            f"{name:<6}{len(p):8,} answers, {right.mean():6.1%} right: error {expected_error(p, right):.4f}, "
            f"by chance {error_by_chance(p):.4f}"
        )
    slots = found.slots
    count = np.bincount(slots)
    gap = np.bincount(slots, found.probabilities) - np.bincount(slots, found.right)
    noise = np.sqrt(np.bincount(slots, found.probabilities * (1 - found.probabilities)))
    by_chance = noise.sum() * np.sqrt(2 / np.pi) / count.sum()  # the mean |x| of a normal distribution
    print(f"by relation and side: error {np.abs(gap).sum() / count.sum():.4f}, by chance {by_chance:.4f}")
    listed = [slot for slot in np.argsort(-np.abs(gap / np.maximum(count, 1))) if count[slot] >= LEAST][:10]
    for slot in listed:
        side = "tail" if slot % 2 else "head"
        print(
            f"  {graph.relations.names[slot // 2]:<28}{side}  {count[slot]:6} answers  {gap[slot] / count[slot]:+.3f}"
        )


if __name__ == "__main__":
    main()
