import torch

from mmkgc.components.kge.evaluation.corruptions import PlausibleNegatives
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL, KnownTriples


def test_negatives_fill_a_slot_that_they_have_in_train():
    train = torch.tensor([[0, 0, 5], [1, 0, 6], [2, 0, 7], [3, 1, 8]])
    source = PlausibleNegatives(train, 10, 2)
    triples = train[:3].repeat(50, 1)
    positives, negatives = source.pair(triples, KnownTriples(train, 10, 2), seed=0)
    assert torch.equal(positives, triples)
    assert torch.equal(negatives[:, RELATION], triples[:, RELATION])
    assert set(negatives[:, HEAD].tolist()) == {0, 1, 2}
    assert set(negatives[:, TAIL].tolist()) == {5, 6, 7}
    assert ((negatives != triples).sum(1) == 1).all()
    changed_heads = (negatives[:, HEAD] != triples[:, HEAD]).float().mean()
    assert 0.35 < changed_heads < 0.65


def test_a_triple_without_any_unknown_corruption_has_no_negative():
    everything = torch.cartesian_prod(torch.arange(2), torch.arange(1), torch.arange(2))
    positives, negatives = PlausibleNegatives(everything, 2, 1).pair(everything, KnownTriples(everything, 2, 1), seed=0)
    assert len(positives) == len(negatives) == 0
