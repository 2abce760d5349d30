"""Samplers that propose entities: SANS by the graph, EANS by the embeddings, CAKE by concepts."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from mmkgc.components.kge.graph import Graph, KnownTriples, Vocabulary
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.negatives import SAMPLERS
from mmkgc.components.kge.negatives.base import Context
from mmkgc.components.kge.negatives.cake import concepts_of
from mmkgc.components.kge.negatives.proposals import Lists, below
from mmkgc.components.kge.negatives.samples import Batch
from mmkgc.components.kge.negatives.sans import neighbours
from mmkgc.components.kge.negatives.scoring import score_blocks

MakeModel, MakeContext = Callable[..., Model], Callable[..., Context]
PATH = torch.tensor([[i, 0, i + 1] for i in range(11)])  # 0 → 1 → … → 11, and entity 12 alone


def made(name: str, context: Context, **parameters: Any) -> Any:
    return SAMPLERS.create({"name": name, **parameters}, context)


def on(triples: Tensor, n_entities: int, context: Context, types: tuple[str, ...] | None = None) -> Context:
    """The context with another graph."""
    keys = [
        tuple(f"{kind}{i}" for i in range(n)) for kind, n in (("e", n_entities), ("r", int(triples[:, 1].max()) + 1))
    ]
    graph = Graph(*(Vocabulary(k, k) for k in keys), triples, triples[:0], triples[:0], types=types)
    return replace(context, graph=graph, train=KnownTriples(triples, n_entities, len(keys[1])))


def drawn_by_row(sampler: Any, batch: Batch, model: Model) -> list[tuple[int, str, Tensor]]:
    """Each positive's row, corrupted side and negatives."""
    rows = []
    for block in sampler.sample(batch, model):
        side = "tail" if block.head is None else "head"
        rows += [(int(row), side, ids) for row, ids in zip(block.rows, (block.tail or block.head).ids, strict=True)]
    return rows


def within(triples: Tensor, anchor: int, hops: int) -> set[int]:
    """What is at most ``hops`` steps away, entity by entity."""
    reached = {anchor}
    for _ in range(hops):
        edges = [(h, t) for h, _, t in triples.tolist()]
        reached |= {t for h, t in edges if h in reached} | {h for h, t in edges if t in reached}
    return reached - {anchor}


@pytest.fixture
def context(make_model: MakeModel, make_context: MakeContext) -> Context:
    return make_context(make_model(interaction="distmult", fusion="structure"))


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_sans_neighbourhoods_are_all_that_is_within_k_steps(hops: int, context: Context) -> None:
    for triples, n_entities in ((PATH, 13), (context.graph.train[:25], 30)):
        lists = made("sans", on(triples, n_entities, context), hops=hops).neighbourhoods
        for anchor in range(n_entities):
            assert sorted(lists.of(anchor).tolist()) == sorted(within(triples, anchor, hops))


def test_all_random_walks_start_at_the_anchor(context: Context) -> None:
    """On a path, two steps never lead farther than two; a walk that went on from the last one's end would stray."""
    lists = made("sans", on(PATH, 13, context), hops=2, walks=200).neighbourhoods
    assert all(set(lists.of(anchor).tolist()) == within(PATH, anchor, 2) for anchor in range(13))
    few = made("sans", on(PATH, 13, context), hops=3, walks=1).neighbourhoods
    assert all(1 <= size <= 3 for size in few.sizes[:12].tolist())
    assert few.sizes[12] == 0


def test_a_neighbourhood_beyond_the_limit_is_a_uniform_sample(context: Context) -> None:
    star = torch.tensor([[0, 0, leaf] for leaf in range(1, 21)])
    kept = torch.zeros(21)
    for seed in range(60):
        own = replace(on(star, 21, context), generator=torch.Generator().manual_seed(seed))
        lists = made("sans", own, hops=1, size=5).neighbourhoods
        assert lists.sizes[0] == 5
        assert lists.sizes[1:].eq(1).all()
        kept[lists.of(0).long()] += 1
    assert kept[0] == 0
    assert (kept[1:] - 15).abs().max() < 13


def test_sans_draws_near_the_kept_entity_and_else_uniformly(context: Context) -> None:
    own = on(PATH, 13, context)
    sampler, model = made("sans", own, hops=3, count=8), own.model
    batch = Batch(PATH.repeat(4, 1), torch.ones(44))
    for row, side, ids in drawn_by_row(sampler, batch, model):
        head, _, tail = batch.triples[row].tolist()
        anchor, gold = (head, tail) if side == "tail" else (tail, head)
        assert set(ids.tolist()) <= within(PATH, anchor, 3) - {gold}
    lonely = made("sans", own, hops=1, count=8)  # its one or two neighbours are the positive, and one in reverse
    first = Batch(PATH[:1].repeat(40, 1), torch.ones(40))
    tails = {i for _, side, ids in drawn_by_row(lonely, first, model) if side == "tail" for i in ids.tolist()}
    assert tails == set(range(13)) - {1}


def test_neighbours_are_those_of_both_directions_once() -> None:
    lists = neighbours(torch.tensor([[0, 0, 1], [1, 1, 0], [2, 0, 2], [1, 0, 2]]), 4)
    assert [lists.of(i).tolist() for i in range(4)] == [[1], [0, 2], [1], []]


def test_lists_are_drawn_from_uniformly() -> None:
    random = torch.Generator().manual_seed(0)
    lists = Lists.group(torch.tensor([2, 0, 2, 2]), torch.tensor([5, 6, 7, 8]), 3)
    numbers = torch.tensor([0, 1, 2])
    drawn = lists.draw(numbers, 3000, torch.tensor([10, 11, 12]), random)
    assert drawn[0].eq(6).all()
    assert drawn[1].eq(11).all()
    assert drawn[2].bincount(minlength=9)[[5, 7, 8]].sub(1000).abs().max() < 120
    assert below(torch.tensor([0, 1, 5]).expand(200, 3), random).amax(0).tolist() == [0, 0, 4]


def clustered(model: Model) -> Tensor:
    """Give the structural vectors three clusters, entity by entity in turn; each entity's cluster."""
    cluster = torch.arange(len(model.entities)) % 3
    with torch.no_grad():
        table = model.entities.structural_table()
        table.copy_(torch.eye(3).repeat(1, 2)[cluster] * 10 + 0.01 * torch.randn(table.shape))
    return cluster


def test_eans_draws_from_the_positives_cluster(context: Context, batch: Batch) -> None:
    model = context.model
    cluster = clustered(model)
    sampler = made("eans", context, clusters=3, deviation=1.5, count=16)
    sampler.begin_epoch(0, 1)
    same = []
    for row, side, ids in drawn_by_row(sampler, batch, model):
        gold = (batch.tails if side == "tail" else batch.heads)[row]
        same.append((cluster[ids] == cluster[gold]).float().mean())
    assert torch.stack(same).mean() > 0.6  # by chance a third; this dense graph has many positives in each cluster
    assert torch.equal(sampler.order[sampler.position], torch.arange(30))
    assert (cluster[sampler.order].diff() != 0).sum() == 2


def test_eans_clusters_anew_every_k_epochs_and_a_resumed_run_goes_on_with_the_old(
    context: Context, batch: Batch
) -> None:
    sampler = made("eans", context, clusters=3, every=2, count=2)
    changed = []
    for epoch in range(4):
        torch.manual_seed(epoch)
        torch.nn.init.normal_(context.model.entities.structural_table())
        before = sampler.order.clone()
        sampler.begin_epoch(epoch, 4)
        sampler.sample(batch, context.model)
        changed.append(not torch.equal(before, sampler.order))
    assert changed == [True, False, True, False]
    again = made("eans", context, clusters=3, every=2, count=2)
    again.load_state_dict(sampler.state_dict())
    again.begin_epoch(3, 4)
    again.sample(batch, context.model)
    assert torch.equal(again.order, sampler.order)


def test_eans_weighs_negatives_down_that_score_like_their_positive(context: Context, batch: Batch) -> None:
    model = context.model
    sampler = made("eans", context, count=4, weight=1.0)
    encoded = model.encode()
    blocks = sampler.refine(batch, sampler.sample(batch, model), encoded, model)
    for block in blocks:
        positive, negative = score_blocks(model, encoded, batch.triples, [block])
        torch.testing.assert_close(block.negative_weights, (positive.unsqueeze(1) - negative).sigmoid())
        assert not block.negative_weights.requires_grad
    off = made("eans", context, count=4, weight=0.0)
    plain = off.sample(batch, model)
    assert off.refine(batch, plain, encoded, model) is plain


TYPED = torch.tensor(
    # 0-3 people, 4-7 towns, 8-11 clubs; relation 0 born in: n-1; 1 fan of: n-n, of towns and clubs
    [[0, 0, 4], [1, 0, 4], [2, 0, 5], [3, 0, 6]]
    + [[person, 1, thing] for person in (0, 1, 2) for thing in (4, 5, 8, 9)]
)
TYPES = ("person",) * 4 + ("town",) * 4 + ("club",) * 4


def test_cake_shares_the_concept_where_an_answer_is_unique_and_avoids_it_elsewhere(context: Context) -> None:
    own = on(TYPED, 12, context, TYPES)
    sampler, model = made("cake", own, count=6), own.model
    batch = Batch(TYPED.repeat(10, 1), torch.ones(len(TYPED) * 10))
    seen = set()
    for row, side, ids in drawn_by_row(sampler, batch, model):
        _, relation, tail = batch.triples[row].tolist()
        kinds = {TYPES[i] for i in ids.tolist()}
        if side == "tail":
            seen.add((relation, TYPES[tail]))
            other = {"town": "club", "club": "town"}[TYPES[tail]]
            assert kinds == {"town" if relation == 0 else other}
        assert not len(own.train.collisions(batch.triples[row : row + 1], side, ids.unsqueeze(0)))
    assert seen == {(0, "town"), (1, "town"), (1, "club")}


def test_cake_draws_all_other_concepts_members_as_often(context: Context) -> None:
    """Members that train never has in this place included."""
    more = torch.cat([TYPED, torch.tensor([[0, 1, 1], [0, 1, 2], [1, 1, 0]])])
    sampler = made("cake", on(more, 12, context, TYPES))
    drawn = sampler._of_another_concept(torch.tensor([3]), torch.tensor([4]), 8000)
    assert drawn.flatten().bincount(minlength=12).sub(1000)[[0, 1, 2, 3, 8, 9, 10, 11]].abs().max() < 150
    alone = sampler._of_another_concept(torch.tensor([1]), torch.tensor([4]), 5)  # born in: towns alone
    assert alone.eq(4).all()


def test_concepts_without_types_are_the_places_that_train_has_most_often() -> None:
    names = tuple(map(str, range(6)))
    train = torch.tensor([[0, 0, 1], [0, 0, 2], [1, 1, 0], [3, 0, 0], [3, 1, 2], [3, 0, 2], [5, 1, 1]])
    test = torch.tensor([[4, 0, 1]])
    graph = Graph(Vocabulary(names, names), Vocabulary(names[:2], names[:2]), train, test, test)
    concept = concepts_of(graph).tolist()
    assert concept[0] == concept[3]  # twice a head of relation 0, whatever else
    assert concept[0] not in (concept[1], concept[2], concept[5])
    assert concept[4] not in (*concept[:4], concept[5])  # in no train triple
    typed = concepts_of(replace(graph, types=("a", "b", "a", "", "", ""))).tolist()
    assert typed[0] == typed[2] != typed[1]
    assert typed[3] not in (*typed[:3], *typed[4:])
