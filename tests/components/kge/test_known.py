"""The filter of known triples against a Python set."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkgc.components.kge.graph import KnownTriples
from mmkgc.components.kge.kernels import lookup

E, R = 9, 3
TRIPLE = st.tuples(st.integers(0, E - 1), st.integers(0, R - 1), st.integers(0, E - 1))


@pytest.mark.parametrize("compiled", [True, False], ids=["kernel", "PyTorch"])
@settings(deadline=None)  # the first example compiles
@given(triples=st.lists(TRIPLE))
def test_known_triples_are_found_and_no_others(compiled: bool, triples: list[tuple[int, int, int]]) -> None:
    known = KnownTriples(torch.tensor(triples, dtype=torch.long).reshape(-1, 3), E, R)
    every = torch.cartesian_prod(torch.arange(E), torch.arange(R), torch.arange(E))
    assert {tuple(triple) for triple in every[known.contains(every)].tolist()} == set(triples)
    for side, column in (("head", 0), ("tail", 2)):
        corrupted = every[every[:, column] == 0]  # any entity in the column
        ids = torch.arange(E).expand(len(corrupted), E)
        with pytest.MonkeyPatch.context() as patch:
            if not compiled:
                patch.setattr(lookup, "usable", lambda ids: False)
            rows = known.collisions(corrupted, side, ids).tolist()
        found = corrupted[[place // E for place in rows]]
        found[:, column] = torch.tensor([place % E for place in rows], dtype=torch.long)
        assert rows == sorted(set(rows))
        assert {tuple(triple) for triple in found.tolist()} == set(triples)


def test_a_query_with_many_answers_is_searched_too() -> None:
    """Few are compared one by one, many are not."""
    triples = torch.tensor([[0, 0, tail] for tail in range(0, 200, 2)])
    known = KnownTriples(triples, 200, 1)
    ids = torch.arange(200).flip(0).view(1, 200)
    assert known.collisions(triples[:1], "tail", ids).tolist() == list(range(1, 200, 2))
