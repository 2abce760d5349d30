"""The best unknown answers of held-out queries, against a search one query at a time."""

import torch

from mmkgc.components.kge.evaluation.answers import best_answers, margins
from mmkgc.components.kge.graph import KnownTriples, slot_of


def test_answers_are_the_best_of_what_is_not_known(toy_mmkg, toy_bundle):
    graph, model = toy_mmkg.graph, toy_bundle.model
    sizes = len(graph.entities), len(graph.relations)
    found = best_answers(model, graph.valid, KnownTriples(graph.train, *sizes), count=4)
    facts, held_out = ({tuple(t) for t in triples.tolist()} for triples in (graph.train, graph.valid))
    loops = {relation for head, relation, tail in facts if head == tail}
    expected = []
    model.freeze()
    for side, columns in (("head", [2, 1]), ("tail", [0, 1])):
        for given, relation in graph.valid[:, columns].unique(dim=0).tolist():
            one, r = torch.tensor([given]), torch.tensor([relation])
            scores = (model.score_tails(one, r) if side == "tail" else model.score_heads(r, one))[0].double()
            triples = [(given, relation, e) if side == "tail" else (e, relation, given) for e in range(sizes[0])]
            offered = [e for e in range(sizes[0]) if triples[e] not in facts and (e != given or relation in loops)]
            best = sorted(offered, key=lambda e: -scores[e].item())
            for place, entity in enumerate(best[:4]):
                rival = best[1] if place == 0 else best[0]
                margin = (scores[entity] - scores[rival]).item()
                slot = 2 * relation + (side == "tail")
                expected.append((slot, scores[entity].item(), margin, triples[entity] in held_out, place == 0))
    slots, scores, ahead, right, first = zip(*expected, strict=True)
    assert found.slots.tolist() == list(slots)
    torch.testing.assert_close(found.scores, torch.tensor(scores, dtype=torch.float64), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.margins, torch.tensor(ahead, dtype=torch.float64), atol=1e-5, rtol=1e-5)
    assert found.right.tolist() == list(right)
    assert found.first.tolist() == list(first)
    assert any(right)


def test_a_lone_answer_has_no_margin():
    inf = torch.inf
    assert margins(torch.tensor([[3.0, -inf], [3.0, 1.0]])).tolist() == [[0, 0], [2, -2]]
    assert margins(torch.tensor([[3.0]])).tolist() == [[0]]


def test_a_slot_is_a_relation_and_a_side():
    relations = torch.tensor([0, 1, 2])
    assert [*slot_of(relations, "head"), *slot_of(relations, "tail")] == [0, 2, 4, 1, 3, 5]
