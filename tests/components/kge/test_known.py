"""The filter of known triples against a Python set."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from components.kge.graph import KnownTriples
from components.kge.kernels import lookup

E, R = 9, 3
TRIPLE = st.tuples(st.integers(0, E - 1), st.integers(0, R - 1), st.integers(0, E - 1))


@pytest.mark.parametrize("compiled", [True, False], ids=["kernel", "PyTorch"])
@settings(deadline=None)  # the first example compiles
@given(triples=st.lists(TRIPLE))
def test_known_triples_are_held_and_no_others(compiled: bool, triples: list[tuple[int, int, int]]) -> None:
    known = KnownTriples(torch.tensor(triples, dtype=torch.long).reshape(-1, 3), E, R)
    every = torch.cartesian_prod(torch.arange(E), torch.arange(R), torch.arange(E))
    with pytest.MonkeyPatch.context() as patch:
        if not compiled:
            patch.setattr(lookup, "usable", lambda codes: False)
        found = known.contains(every)
        rows = known.holds(*(column.view(E, R, E) for column in every.unbind(1)))
    assert {tuple(triple) for triple in every[found].tolist()} == set(triples)
    assert torch.equal(rows.flatten(), found)
