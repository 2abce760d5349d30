import torch

from mmkgc.components.kge.evaluation.baseline import NearestContent, RelationPopularity
from mmkgc.components.kge.evaluation.metrics import QueryRanks
from mmkgc.components.kge.evaluation.ranks import rank
from mmkgc.components.kge.features import Features
from mmkgc.components.kge.graph import Graph, KnownTriples, Vocabulary


def test_popularity_counts_slots_of_train_alone():
    names = tuple("abcd")
    train = torch.tensor([[0, 0, 1], [2, 0, 1], [0, 0, 3], [1, 1, 2]])
    test = torch.tensor([[2, 0, 3]])
    graph = Graph(Vocabulary(names, names), Vocabulary(("r", "s"), ("r", "s")), train=train, valid=test, test=test)
    model = RelationPopularity(graph)
    assert model.score_tails(torch.tensor([3, 3]), torch.tensor([0, 1])).tolist() == [[0, 2, 0, 1], [0, 0, 1, 0]]
    assert model.score_heads(torch.tensor([0]), torch.tensor([2])).tolist() == [[2, 0, 1, 0]]
    queries = QueryRanks.of(rank(model, test, KnownTriples(graph.all_triples, 4, 2)))
    # (?, r, d): a is known and filtered, so c stands first. (c, r, ?): b is known and filtered, so d stands first.
    assert queries.realistic.tolist() == [1, 1]


def test_the_nearest_content_of_the_relations_slot_comes_first():
    names = tuple("abcde")
    train = torch.tensor([[0, 0, 1], [0, 0, 2], [3, 1, 4]])
    graph = Graph(Vocabulary(names, names), Vocabulary(("r", "s"), ("r", "s")), train, train[:0], train[:0])
    vectors = torch.tensor([[2.0, 0], [0, 3], [1, 1], [1, 0], [9, 9]])
    model = NearestContent(graph, Features(vectors, torch.tensor([True, True, True, True, False])))
    scores = model.score_tails(torch.tensor([3, 4]), torch.tensor([0, 0]))
    assert scores[0].argsort(descending=True).tolist()[:3] == [2, 1, 0]  # c and b are tails of r; a is nearer, but none
    assert scores[1].tolist() == [0, 2, 2, 0, 0]  # nothing is known of e: the slot alone counts
    assert model.score_heads(torch.tensor([1]), torch.tensor([0]))[0].argmax() == 3
