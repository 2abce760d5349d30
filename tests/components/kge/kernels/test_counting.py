"""One-pass counting of ranks against a loop that spells the definition out."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkgc.components.kge.kernels import counting


@settings(max_examples=50, deadline=None)
@given(rows=st.integers(1, 5), entities=st.integers(1, 12), golds=st.integers(0, 9), seed=st.integers(0, 1000))
def test_counts_are_those_of_the_definition(rows: int, entities: int, golds: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(4, (rows, entities), generator=generator).float()  # many ties
    row = torch.randint(rows, (golds,), generator=generator)
    gold = torch.randint(entities, (golds,), generator=generator)
    known = torch.rand(rows, entities, generator=generator) < 0.3
    better, equal, others = counting.count(scores, row, gold, tuple(known.nonzero().unbind(1)))
    for g in range(golds):
        own = scores[row[g], gold[g]]
        rivals = [scores[row[g], e] for e in range(entities) if e != gold[g] and not known[row[g], e]]
        assert better[g] == sum(score > own for score in rivals)
        assert equal[g] == sum(score == own for score in rivals)
        assert others[g] == len(rivals)
