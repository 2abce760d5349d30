import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkgc.components.propose.best import Best
from mmkgc.components.propose.questions import Pairs

SCORES = st.lists(st.sampled_from([-torch.inf, -1.0, 0.0, 0.5, 2.0]), min_size=12, max_size=12)


@settings(deadline=None)
@given(SCORES, st.integers(1, 9), st.integers(1, 4), st.booleans())
def test_blocks_and_budgets_give_the_first_of_all_in_one_order(values, budget, block, from_tails):
    few, many = torch.tensor([1, 4, 9]), torch.tensor([0, 2, 4, 5])
    scores = torch.tensor(values).view(3, 4)
    pairs = Pairs(0, many, few) if from_tails else Pairs(0, few, many)
    best = Best.none(budget)
    for asked, rows in zip(few.split(block), scores.split(block), strict=True):
        best = best.with_block(rows, pairs, asked)
    found = [(scores[i, j].item(), few[i].item(), many[j].item()) for i in range(3) for j in range(4)]
    triples = [(score, b, a) if from_tails else (score, a, b) for score, a, b in found if score > -torch.inf]
    expected = sorted(triples, key=lambda one: (-one[0], one[1], one[2]))[:budget]
    assert best.scores.tolist() == [score for score, _, _ in expected]
    assert best.pairs.tolist() == [[head, tail] for _, head, tail in expected]
    half = Best.none(budget).with_block(scores[:1], pairs, few[:1])
    rest = Best.none(budget).with_block(scores[1:], pairs, few[1:])
    assert half.joined(rest).pairs.tolist() == best.pairs.tolist()
