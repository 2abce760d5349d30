"""The loss of facts known to be false: its formula, every kind of loss, and what it changes."""

from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import softplus

from mmkgc.components.kge.batch_loss import batch_losses
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL, Graph, KnownTriples
from mmkgc.components.kge.known_false import known_false_blocks
from mmkgc.components.kge.losses import LOSSES
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.negatives.samples import Batch
from mmkgc.components.kge.tensors import total

N, R = 30, 3
WEIGHT = 0.5


@pytest.fixture
def false(graph: Graph) -> KnownTriples:
    """Triples that are in no split: some share a query with train, the last one shares none."""
    true = {tuple(triple) for triple in graph.all_triples.tolist()}
    taken = [(h, r, (t + 7) % N) for h, r, t in graph.train[::9].tolist() if (h, r, (t + 7) % N) not in true]
    return KnownTriples(torch.tensor(taken), N, R)


def by_hand(model: Model, batch: Batch, false: KnownTriples) -> torch.Tensor:
    """Σ over triples of the batch, and over false triples that share a query of theirs, of log(1 + exp(s⁻ − s⁺))."""
    loss = torch.zeros((), dtype=torch.float64)
    for triple, weight in zip(batch.triples, batch.weight, strict=True):
        for other in false.triples:
            for column in (HEAD, TAIL):
                given = TAIL if column == HEAD else HEAD
                if triple[RELATION] == other[RELATION] and triple[given] == other[given]:
                    loss = (
                        loss
                        + weight * softplus(model.score_triples(other[None]) - model.score_triples(triple[None]))[0]
                    )
    return WEIGHT * loss / batch.weight.sum()


@pytest.mark.parametrize("name", ["self-adversarial", "cross-entropy", "grouped-cross-entropy"])
def test_the_loss_is_its_formula_whatever_the_other_loss_is(
    name: str, make_model: Callable[..., Model], graph: Graph, false: KnownTriples
) -> None:
    model = make_model(interaction={"name": "distmult", "init": 0.5}, fusion="sum").double().eval()
    batch = Batch(graph.train, torch.linspace(1, 2, len(graph.train)).double(), torch.arange(len(graph.train)) % 2 == 0)
    train = KnownTriples(graph.train, N, R)
    found = batch_losses(model, batch, [], LOSSES.create(name), train, false=false, false_weight=WEIGHT).losses
    torch.testing.assert_close(found["known_false"], by_hand(model, batch, false))
    assert "known_false" not in batch_losses(model, batch, [], LOSSES.create(name), train).losses


def test_a_false_triple_is_compared_with_train_triples_of_its_queries_alone(graph: Graph, false: KnownTriples) -> None:
    batch = Batch(graph.train, torch.ones(len(graph.train)))
    blocks = known_false_blocks(batch, false, 1.0)
    assert {"tail" if block.head is None else "head" for block in blocks} == {"head", "tail"}
    for block in blocks:
        triples = batch.triples[block.rows].clone()
        column, negatives = (TAIL, block.tail) if block.head is None else (HEAD, block.head)
        triples[:, column] = negatives.ids[:, 0]
        assert false.contains(triples).all()
    assert known_false_blocks(batch, None, 1.0) == []


def test_false_triples_fall_below_the_true_ones_of_their_queries(
    make_model: Callable[..., Model], graph: Graph, false: KnownTriples
) -> None:
    torch.manual_seed(0)
    model = make_model(interaction="rotate", fusion="sum")
    batch, train = Batch(graph.train, torch.ones(len(graph.train))), KnownTriples(graph.train, N, R)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.05)
    for _ in range(40):
        optimizer.zero_grad()
        total(
            batch_losses(model, batch, [], LOSSES.create("self-adversarial"), train, false=false).losses.values()
        ).backward()
        optimizer.step()
    model.freeze()
    above = []
    for head, relation, tail in false.triples.tolist():
        scores = model.score_tails(torch.tensor([head]), torch.tensor([relation]))[0]
        answers = train.tails(torch.tensor([head]), torch.tensor([relation]))[1]
        above += (scores[answers] > scores[tail]).tolist()
    assert sum(above) > 0.97 * len(above)
