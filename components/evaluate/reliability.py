"""How far a model's probabilities can be trusted: its best answers to the test queries, right or wrong."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.evaluation.answers import best_answers
from mmkgc.components.kge.evaluation.calibration import expected_error, probability
from mmkgc.components.kge.graph import Graph, KnownTriples


@dataclass(frozen=True)
class Reliability:
    """Probabilities float64 ``[A]`` of the answers, which of them are ``right`` and which the ``first`` of a query.

    ``slots`` int64 ``[A]``: ``slot_of`` their relation and the side that was asked for.
    """

    slots: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    right: NDArray[np.bool_]
    first: NDArray[np.bool_]

    @classmethod
    def of(cls, bundle: Bundle, graph: Graph) -> "Reliability":
        """The ten best unknown answers to each test query of a calibrated bundle; known are all triples but test."""
        others = torch.cat([graph.train, graph.valid, graph.known])
        known = KnownTriples(others, len(graph.entities), len(graph.relations))
        false = KnownTriples(graph.false, len(graph.entities), len(graph.relations))
        answers = best_answers(bundle.model, graph.test, known, false=false)
        assert bundle.calibration is not None
        chances = probability(bundle.calibration, answers.scores, answers.slots, answers.margins)
        return cls(answers.slots.numpy(), chances.numpy(), answers.right.numpy(), answers.first.numpy())

    @property
    def summary(self) -> dict[str, Any]:
        """Expected calibration error of all answers; mean probability and share of right ones among the first."""
        return {
            "answers": len(self.right),
            "expected_error": expected_error(self.probabilities, self.right),
            "first": {
                "answers": int(self.first.sum()),
                "probability": float(self.probabilities[self.first].mean()),
                "right": float(self.right[self.first].mean()),
                "expected_error": expected_error(self.probabilities[self.first], self.right[self.first]),
            },
        }
