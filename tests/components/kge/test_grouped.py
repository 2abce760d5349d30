"""Batches of queries: every answer once an epoch, and the loss and gradients of ungrouped cross-entropy."""

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmkgc.components.kge.batch_loss import batch_losses
from mmkgc.components.kge.fusions import FUSIONS
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL, Graph, KnownTriples
from mmkgc.components.kge.grouped import SEVERAL, Candidates, QueryGroups, grouped_loss
from mmkgc.components.kge.kernels.products import ROUND, missing
from mmkgc.components.kge.kernels.softmax import dot_cross_entropy
from mmkgc.components.kge.losses import LOSSES
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.negatives.samples import Batch

N, R = 30, 3


def directed(graph: Graph, rows: Tensor) -> Batch:
    size = len(graph.train)
    return Batch(graph.train[rows % size], torch.linspace(1, 2, size)[rows % size].double(), rows >= size)


def queries_of(batch: Batch) -> list[tuple[bool, int, int]]:
    """Side, known entity and relation of each directed triple."""
    assert batch.asks_head is not None
    return [
        (side, triple[TAIL if side else HEAD], triple[RELATION])
        for side, triple in zip(batch.asks_head.tolist(), batch.triples.tolist(), strict=True)
    ]


@pytest.mark.parametrize("most", [1, 3, 1000])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_an_epoch_asks_for_both_sides_of_every_triple_in_as_few_groups_as_possible(
    graph: Graph, size: int, most: int
) -> None:
    groups, random = QueryGroups(graph.train, R, most), torch.Generator().manual_seed(0)
    answers = Counter(queries_of(directed(graph, torch.arange(2 * len(graph.train)))))
    assert max(answers.values()) > 3
    assert len(groups) == sum(-(-count // most) for count in answers.values())
    epochs = [list(groups.batches(size, random)) for _ in range(2)]
    for batches in epochs:
        assert torch.equal(torch.cat(batches).sort().values, torch.arange(2 * len(graph.train)))
        assert len(batches) == -(-len(groups) // size)
        for rows in batches:
            counts = Counter(queries_of(directed(graph, rows)))
            assert sum(-(-count // most) for count in counts.values()) <= size
    assert not all(torch.equal(*pair) for pair in zip(*epochs, strict=True))


@pytest.mark.parametrize("interaction", ["complex", "rotate", "transd"])
@pytest.mark.parametrize("fusion", [name for name in FUSIONS.classes() if name != "gc-ote"])
def test_the_grouped_loss_is_cross_entropy(
    fusion: str, interaction: str, make_model: Callable[..., Model], graph: Graph
) -> None:
    model = make_model(interaction={"name": interaction, "init": 0.5}, fusion=fusion, reciprocal=True).double().eval()
    train = KnownTriples(graph.train, N, R)
    both = Batch(graph.train, torch.linspace(1, 2, len(graph.train)).double())
    everything = directed(graph, torch.arange(2 * len(graph.train)))
    found = [
        batch_losses(model, batch, [], LOSSES.create(loss), train).losses["all_entities"]
        for batch, loss in ((both, "cross-entropy"), (everything, "grouped-cross-entropy"))
    ]
    torch.testing.assert_close(found[1], found[0])
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    expected, actual = (torch.autograd.grad(loss, parameters, allow_unused=True) for loss in found)
    for ours, theirs in zip(actual, expected, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None and theirs is not None:
            torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-6)


@given(st.lists(st.integers(0, 999), min_size=1), st.integers(1, 300))
@settings(deadline=None)
def test_as_many_candidates_as_asked_for_are_drawn_from_the_other_entities(own: list[int], count: int) -> None:
    some = Candidates.draw([torch.tensor(own)], 1000, count)
    asked = count + missing(len(set(own)) + count, min(ROUND, count))
    assert (some is None) == (1000 - len(set(own)) <= asked)
    if some is not None:
        assert some.own.tolist() == sorted(set(own))
        drawn = set(some.drawn.tolist())
        assert len(drawn) == len(some.drawn) == asked
        assert not drawn & set(own)
        assert drawn <= set(range(1000))


@pytest.mark.parametrize("n", [SEVERAL * 20, 10 * SEVERAL * 20])
def test_every_other_entity_is_drawn_equally_often(n: int) -> None:
    own, rounds = torch.tensor([0, 7, n - 1]), 2000
    counts = torch.zeros(n)
    for _ in range(rounds):
        some = Candidates.draw([own], n, 20)
        assert some is not None
        counts[some.drawn] += 1
    share = len(some.drawn) / (n - 3)
    others = counts[[i for i in range(n) if i not in own.tolist()]]
    assert counts[own].sum() == 0
    assert ((others - rounds * share).abs() < 6 * (rounds * share) ** 0.5).all()


@pytest.mark.parametrize("interaction", ["complex", "rotate"])
def test_candidates_stand_for_all_other_entities(
    interaction: str, make_model: Callable[..., Model], graph: Graph
) -> None:
    """The sum in the softmax, averaged over every entity that can be drawn, is that over all entities."""
    model = make_model(interaction={"name": interaction, "init": 0.5}, fusion="sum", reciprocal=True).double().eval()
    loss = LOSSES.create("grouped-cross-entropy")
    batch = Batch(graph.train[:1], torch.ones(1).double(), torch.zeros(1, dtype=torch.bool))
    head, relation, tail = batch.triples[0].tolist()
    scores = model.score_tails(torch.tensor([head]), torch.tensor([relation]))[0]
    others = [entity for entity in range(N) if entity not in (head, tail)]
    sums = []
    for entity in others:
        some = Candidates(torch.tensor([head, tail]).unique(), torch.tensor([entity]), N)
        encoded = model.encode([some.own, some.drawn])
        value = grouped_loss(model, encoded, batch, loss, [model.fusion.terms], some.offset(encoded))
        sums.append((value + scores[tail]).exp())
    torch.testing.assert_close(torch.stack(sums).mean(), scores.exp().sum())


def test_as_many_candidates_as_there_are_entities_are_all_of_them(
    make_model: Callable[..., Model], graph: Graph
) -> None:
    model = make_model(interaction="complex", fusion="sum", reciprocal=True).double().eval()
    batch, train = directed(graph, torch.arange(4)), KnownTriples(graph.train, N, R)
    whole, all_drawn, few_drawn = (
        batch_losses(model, batch, [], LOSSES.create(loss), train).losses["all_entities"]
        for loss in (
            "grouped-cross-entropy",
            {"name": "grouped-cross-entropy", "candidates": N},
            {"name": "grouped-cross-entropy", "candidates": 1},
        )
    )
    assert torch.equal(all_drawn, whole)
    assert not torch.equal(few_drawn, whole)


@given(data=st.data())
def test_candidates_are_drawn_once_each_and_outside_the_batch(data: st.DataObject) -> None:
    entities = st.integers(0, N - 1)
    ids, count = data.draw(st.lists(entities, min_size=1)), data.draw(st.integers(1, N))
    some = Candidates.draw([torch.tensor(ids)], N, count)
    if some is None:
        assert N - len(set(ids)) < 2 * count
    else:
        assert set(some.own.tolist()) == set(ids)
        assert count <= len(some.drawn) == len(some.drawn.unique()) < 2 * count
        assert (len(some.own) + len(some.drawn)) % count == 0  # few shapes
        assert not set(some.drawn.tolist()) & set(ids)


def test_cross_entropy_of_dot_products_is_that_of_their_scores() -> None:
    random = torch.Generator().manual_seed(0)
    query, table = (torch.randn(size, 6, generator=random, dtype=torch.float64) for size in (5, 40))
    rows, gold = torch.tensor([0, 0, 0, 1, 3, 4, 4]), torch.tensor([2, 2, 7, 39, 0, 1, 2])
    weight = torch.rand(7, generator=random, dtype=torch.float64)
    query.requires_grad_(), table.requires_grad_()
    offset = torch.randn(40, generator=random, dtype=torch.float64)
    scores = query @ table.T + offset
    expected = (weight * torch.nn.functional.cross_entropy(scores[rows], gold, reduction="none")).sum()
    actual = 3 * dot_cross_entropy(query, table, rows, gold, weight, offset)
    torch.testing.assert_close(actual, 3 * expected)
    wanted = torch.autograd.grad(3 * expected, (query, table))
    for ours, theirs in zip(torch.autograd.grad(actual, (query, table)), wanted, strict=True):
        torch.testing.assert_close(ours, theirs)
    with torch.autocast("cpu", torch.bfloat16):
        query, table = query.float().detach().requires_grad_(), table.float().detach().requires_grad_()
        rounded = 3 * dot_cross_entropy(query, table, rows, gold, weight.float(), offset)
    torch.testing.assert_close(rounded, 3 * expected.float(), rtol=0.02, atol=0)
    for ours, theirs in zip(torch.autograd.grad(rounded, (query, table)), wanted, strict=True):
        assert torch.linalg.vector_norm(ours - theirs) < 0.02 * torch.linalg.vector_norm(theirs)
