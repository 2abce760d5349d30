"""Ranks without the query's own entity against a count over all entities."""

from dataclasses import replace

import numpy as np
import torch

from mmkgc.components.evaluate.config import EvaluateConfig
from mmkgc.components.evaluate.evaluate import tracked_metrics
from mmkgc.components.evaluate.link_prediction import link_prediction, symmetric, without_self
from mmkgc.components.evaluate.slices import by_relation
from mmkgc.components.kge.evaluation.metrics import QueryRanks
from mmkgc.components.kge.evaluation.ranks import Untrained, rank
from mmkgc.components.kge.graph import Graph, KnownTriples, Vocabulary

N = 12
NAMES = tuple(f"e{index}" for index in range(N))


class OwnFirst(Untrained):
    """Ranks the query's own entity first, then those with the nearest ids."""

    def score_tails(self, heads, relations):
        return -(heads[:, None] - torch.arange(N)).abs().float()

    def score_heads(self, relations, tails):
        return self.score_tails(tails, relations)


def graph() -> Graph:
    """Relation 0 is symmetric, 1 has a direction, 2 is symmetric with a loop."""
    ring = [(i, (i + 3) % N) for i in range(N)]
    both = [(h, r, t) for r in (0, 2) for h, t in ring] + [(t, r, h) for r in (0, 2) for h, t in ring]
    train = torch.tensor([*both, (4, 2, 4), *((h, 1, t) for h, t in ring)])
    test = torch.tensor([(0, 0, 2), (0, 1, 2), (0, 2, 2)])
    words = Vocabulary(NAMES, NAMES), Vocabulary(("a", "b", "c"), ("a", "b", "c"))
    return Graph(*words, train=train, valid=test[:0], test=test)


def test_only_symmetric_relations_without_loops_count():
    assert symmetric(graph()).tolist() == [0]


def test_the_own_entity_is_no_candidate_of_a_symmetric_relation():
    toy, config = graph(), EvaluateConfig(bootstrap=100)
    known = KnownTriples(toy.all_triples, N, 3)
    before = QueryRanks.of(rank(OwnFirst(), toy.test, known))
    after = without_self(OwnFirst(), toy, before, symmetric(toy), config)
    assert after is not None
    own = before.triple == 0
    np.testing.assert_array_equal(after.optimistic[own], before.optimistic[own] - 1)
    np.testing.assert_array_equal(after.candidates[own], before.candidates[own] - 1)
    np.testing.assert_array_equal(after.optimistic[~own], before.optimistic[~own])
    found = link_prediction(OwnFirst(), toy, {}, None, config).summary["without_self"]
    assert [row["value"] for row in found["relations"]] == ["a"]
    assert found["both"]["mrr"] > (1 / before.realistic).mean()


def test_a_table_by_relation_shows_both_figures_of_a_symmetric_relation():
    results = link_prediction(OwnFirst(), graph(), {}, None, EvaluateConfig(bootstrap=100)).summary
    own = results["without_self"]
    rows = {row["value"]: row["both"]["mrr"] for row in by_relation(results["slices"]["relation"], own)}
    assert list(rows) == ["a", "a, own entity left out", "b", "c"]
    assert rows["a"] < rows["a, own entity left out"] == own["relations"][0]["both"]["mrr"]
    tracked = tracked_metrics(results | {"reliability": None, "classification": None})
    assert tracked["test/without_self/hits_at_1"] == own["both"]["hits_at_1"]


def test_without_symmetric_relations_there_is_nothing_to_leave_out():
    toy = graph()
    directed = replace(toy, test=toy.test[1:])
    summary = link_prediction(OwnFirst(), directed, {}, None, EvaluateConfig(bootstrap=100)).summary
    assert summary["without_self"] is None
