"""Rules against a count by hand and by loops over all pairs of entities."""

import math

import torch

from mmkgc.components.kge.graph import Graph
from mmkgc.components.kge.rules import Rules, RuleScores

N, R = 30, 3
FAMILY = torch.tensor([[0, 0, 1], [2, 0, 3], [4, 0, 5], [1, 1, 0], [3, 1, 2], [0, 2, 6], [6, 2, 7], [0, 0, 7]])


def test_support_and_confidence_are_those_of_loops_over_all_pairs(graph: Graph) -> None:
    told = {(h, r, t) for h, r, t in graph.train.tolist()} | {(t, r + R, h) for h, r, t in graph.train.tolist()}

    def holds(x: int, body: tuple[int, ...], y: int) -> bool:
        if len(body) == 1:
            return (x, body[0], y) in told
        return any((x, body[0], z) in told and (z, body[1], y) in told for z in range(N))

    mined = Rules(graph.train, N, R).mine(least_support=2, least_confidence=0.0)
    found = {(rule.head, rule.body): rule for rule in mined}
    assert [rule.confidence for rule in mined] == sorted((rule.confidence for rule in mined), reverse=True)
    bodies = [(b,) for b in range(2 * R)] + [(1, 2), (0, R + 1), (R, 0)]
    for body in bodies:
        pairs = [(x, y) for x in range(N) for y in range(N) if x != y and holds(x, body, y)]
        for head in range(R):
            support = sum((x, head, y) in told for x, y in pairs)
            if support >= 2 and body != (head,):
                assert found[head, body].support == support
                assert math.isclose(found[head, body].confidence, support / (len(pairs) + 5))
            else:
                assert (head, body) not in found


def test_the_scores_are_the_noisy_or_of_the_rules_that_hold() -> None:
    rules = Rules(FAMILY, 8, 3)
    mined = rules.mine(least_support=1, least_confidence=0.0)
    inverse = next(rule for rule in mined if rule.head == 1 and rule.body == (3,))
    assert (inverse.support, inverse.confidence) == (2, 2 / (4 + 5))
    scores = RuleScores(rules, [inverse], floor=0.01)
    tails = scores.score_tails(torch.tensor([5, 4]), torch.tensor([1, 1])).exp() - 1
    assert math.isclose(tails[0, 4].item(), inverse.confidence / 0.01, rel_tol=1e-5)  # 4 is told to be before 5
    assert (tails > 0).sum() == 1
    heads = scores.score_heads(torch.tensor([1]), torch.tensor([4]))
    assert heads[0].nonzero().squeeze(1).tolist() == [5]
    both = RuleScores(rules, [inverse, inverse._replace(head=1, body=(3,), confidence=0.5)], floor=0.01)
    expected = 1 - (1 - inverse.confidence) * 0.5
    assert math.isclose(
        both.score_tails(torch.tensor([5]), torch.tensor([1]))[0, 4].expm1() * 0.01, expected, rel_tol=1e-5
    )


def test_paths_through_hubs_are_left_out_and_a_relation_has_a_bounded_number_of_rules() -> None:
    hub = torch.tensor([[i, 0, 9] for i in range(9)] + [[0, 1, 1], [1, 1, 0]])
    everything = Rules(hub, 10, 2)
    assert (0, 2) in [rule.body for rule in everything.mine(1, 0.0)]
    assert (0, 2) not in [rule.body for rule in everything.mine(1, 0.0, most_pairs=80)]
    mined = everything.mine(1, 0.0)
    assert RuleScores(everything, mined, most=0).score_tails(torch.tensor([0]), torch.tensor([1])).count_nonzero() == 0


def test_bodies_between_two_entities_and_their_counts_are_those_of_loops(graph: Graph) -> None:
    told = {(h, r, t) for h, r, t in graph.train.tolist()} | {(t, r + R, h) for h, r, t in graph.train.tolist()}
    rules = Rules(graph.train, N, R)
    for x, y in graph.train[:6, [0, 2]].tolist():
        expected = {(b,) for b in range(2 * R) if (x, b, y) in told}
        ways = {}
        for first in range(2 * R):
            for second in range(2 * R):
                middles = [z for z in range(N) if z not in (x, y) and {(x, first, z), (z, second, y)} <= told]
                if middles:
                    ways[first, second] = min(middles)
        found = rules.between(x, y)
        assert found == dict.fromkeys(expected) | ways
    for rule in rules.mine(least_support=1, least_confidence=0.0)[:20]:
        support, pairs = rules.counts(rule.head, rule.body)
        assert support == rule.support
        assert math.isclose(rule.confidence, support / (pairs + 5))
        assert rules.paths(rule.body) >= pairs
