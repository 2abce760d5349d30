"""The graph: which triples may take part in selection."""

import torch

from mmkgc.components.kge.graph import Graph, Vocabulary, without


def test_no_test_triple_is_in_the_filter_of_selection() -> None:
    """A contaminated validation file holds test triples: they stay in the final filter alone."""
    names = Vocabulary(tuple("abcd"), tuple("abcd"))
    train, valid, test = torch.tensor([[0, 0, 1], [1, 0, 2]]), torch.tensor([[2, 0, 3]]), torch.tensor([[3, 0, 0]])
    known = torch.tensor([[0, 0, 1], [3, 0, 0], [3, 0, 1]])
    graph = Graph(names, Vocabulary(("r",), ("r",)), train, valid, test, known)
    selection = {tuple(triple) for triple in graph.selection_triples.tolist()}
    assert selection == {(0, 0, 1), (1, 0, 2), (2, 0, 3), (3, 0, 1)}
    assert (3, 0, 0) in {tuple(triple) for triple in graph.all_triples.tolist()}


def test_triples_without_others_keep_their_order() -> None:
    triples = torch.tensor([[3, 0, 1], [0, 0, 0], [3, 0, 1], [2, 1, 0]])
    assert without(triples, torch.tensor([[0, 0, 0]])).tolist() == [[3, 0, 1], [3, 0, 1], [2, 1, 0]]
    assert without(triples[:0], triples).tolist() == []
    assert without(triples, triples[:0]).tolist() == triples.tolist()
