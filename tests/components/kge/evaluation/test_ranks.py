"""Ranks against a brute force over lists, and what ties, duplicates, NaN and the order of entities do to them."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmkgc.components.kge.evaluation.ranks import NotFinite, mrr, rank
from mmkgc.components.kge.graph import Graph, KnownTriples
from mmkgc.components.kge.model import Model


class Table:
    """A stand-in for a model: its scores are a table ``[N, R, N]``."""

    training = False

    def __init__(self, scores: Tensor) -> None:
        self.scores, self.asked = scores, 0

    def freeze(self) -> "Table":
        return self

    def train(self, mode: bool) -> "Table":
        return self

    def score_tails(self, heads: Tensor, relations: Tensor) -> Tensor:
        self.asked += len(heads)
        return self.scores[heads, relations]

    def score_heads(self, relations: Tensor, tails: Tensor) -> Tensor:
        self.asked += len(tails)
        return self.scores[:, relations, tails].T


def brute_force(
    scores: Tensor, triples: Tensor, known: set[tuple[int, ...]], side: int
) -> list[tuple[float, float, int]]:
    found = []
    for triple in triples.tolist():
        others = []
        for entity in range(len(scores)):
            corrupted = tuple(entity if place == side else value for place, value in enumerate(triple))
            if corrupted != tuple(triple) and corrupted not in known:
                others.append(scores[corrupted].item())
        own = scores[tuple(triple)].item()
        better, equal = sum(other > own for other in others), sum(other == own for other in others)
        found.append((1 + better, 1 + better + equal, 1 + len(others)))
    return found


triple_lists = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 1), st.integers(0, 6)), min_size=1, max_size=25)


@settings(max_examples=60, deadline=None)
@given(asked=triple_lists, others=triple_lists, seed=st.integers(0, 999), batch_size=st.integers(1, 5))
def test_ranks_are_those_of_a_brute_force(
    asked: list[tuple[int, ...]], others: list[tuple[int, ...]], seed: int, batch_size: int
) -> None:
    """Scores of few values make ties; asked triples may or may not be known."""
    scores = torch.randint(4, (7, 2, 7), generator=torch.Generator().manual_seed(seed)).float()
    triples, filtered = torch.tensor(asked), others + asked[::2]
    ranks = rank(Table(scores), triples, KnownTriples(torch.tensor(filtered), 7, 2), batch_size)
    for side, place in ((ranks.head, 0), (ranks.tail, 2)):
        columns = torch.stack([side.optimistic, side.pessimistic, side.candidates.double()], dim=1)
        assert [tuple(row) for row in columns.tolist()] == brute_force(scores, triples, set(filtered), place)


@pytest.mark.parametrize("value", [0.0, -3.0])
def test_a_constant_model_ranks_in_the_middle(value: float) -> None:
    triples = torch.tensor([[0, 0, 1], [2, 1, 3]])
    ranks = rank(Table(torch.full((9, 2, 9), value)), triples, KnownTriples(triples, 9, 2))
    assert ranks.realistic.tolist() == [5.0] * 4
    assert mrr(ranks) == pytest.approx(1 / 5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_scores_that_are_not_finite_are_refused(bad: float) -> None:
    scores = torch.zeros(5, 1, 5)
    scores[1, 0, 4] = bad
    triples = torch.tensor([[1, 0, 2]])
    with pytest.raises(NotFinite, match="lower the learning rate"):
        rank(Table(scores), triples, KnownTriples(triples, 5, 1))


def test_a_query_with_many_answers_is_scored_once() -> None:
    triples = torch.tensor([[0, 0, tail] for tail in range(5)])
    model = Table(torch.rand(6, 1, 6))
    rank(model, triples, KnownTriples(triples, 6, 1))
    assert model.asked == 1 + 5


def test_the_order_of_entities_changes_no_rank(graph: Graph, make_model: Callable[..., Model]) -> None:
    model = make_model(interaction="complex", fusion="structure")
    renamed = torch.randperm(len(graph.entities), generator=torch.Generator().manual_seed(0))

    def rename(triples: Tensor) -> Tensor:
        return torch.stack([renamed[triples[:, 0]], triples[:, 1], renamed[triples[:, 2]]], dim=1)

    sizes = len(graph.entities), len(graph.relations)
    before = rank(model, graph.test, KnownTriples(graph.all_triples, *sizes))
    with torch.no_grad():
        structure = model.entities.structure
        structure.copy_(structure[renamed.argsort()].clone())
    after = rank(model, rename(graph.test), KnownTriples(rename(graph.all_triples), *sizes))
    assert torch.equal(before.realistic, after.realistic)


def test_ranking_leaves_a_model_in_training(graph: Graph, make_model: Callable[..., Model]) -> None:
    model = make_model().train()
    rank(model, graph.test[:3], KnownTriples(graph.all_triples, len(graph.entities), len(graph.relations)))
    assert model.training
    assert SimpleNamespace(**vars(model))._frozen is None
