"""Dot products in the fast layout are the plain ones, with their gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from mmkgc.components.kge.kernels.products import FEW, FEW_ROWS, dots, padded_dots, pair_dots
from mmkgc.components.kge.kernels.softmax import dot_cross_entropy

SIZES = st.tuples(st.integers(1, 2 * FEW), st.integers(1, 40), st.integers(1, 9))


@settings(deadline=None)
@given(SIZES)
def test_products_and_gradients_are_the_plain_ones(sizes: tuple[int, int, int]) -> None:
    q, n, d = sizes
    query, table, upstream = torch.randn(q, d), torch.randn(n, d), torch.randn(q, n)
    found = []
    for product in (dots, lambda a, b: a @ b.T):
        leaves = [query.clone().requires_grad_(), table.clone().requires_grad_()]
        scores = product(*leaves)
        found.append((scores, *torch.autograd.grad(scores, leaves, upstream)))
    assert found[0][0].is_contiguous()
    for ours, plain in zip(*found, strict=True):
        assert_close(ours, plain)


@settings(deadline=None)
@given(SIZES)
def test_columns_beyond_the_table_have_no_probability(sizes: tuple[int, int, int]) -> None:
    q, n, d = sizes
    scores = padded_dots(torch.randn(q, d), torch.randn(n, d))
    assert scores.shape[1] % 8 == 0
    assert scores.is_contiguous()
    assert (scores[:, n:] == -torch.inf).all()
    assert scores[:, :n].isfinite().all()


def test_only_float32_is_padded() -> None:
    assert padded_dots(torch.randn(3, 2).double(), torch.randn(5, 2).double()).shape == (3, 5)


@pytest.mark.parametrize("n", [16, 17, 23])
def test_the_loss_is_pytorchs_whatever_the_number_of_entities(n: int) -> None:
    query, table, offset = torch.randn(70, 4, requires_grad=True), torch.randn(n, 4, requires_grad=True), torch.randn(n)
    rows, gold, weight = torch.arange(70), torch.randint(n, (70,)), torch.rand(70)
    ours = dot_cross_entropy(query, table, rows, gold, weight, offset)
    theirs = (weight * torch.nn.functional.cross_entropy(query @ table.T + offset, gold, reduction="none")).sum()
    assert_close(ours, theirs)
    for one, other in zip(*(torch.autograd.grad(loss, (query, table)) for loss in (ours, theirs)), strict=True):
        assert_close(one, other)


@pytest.mark.parametrize(("n", "dtype"), [(FEW_ROWS - 1, torch.float32), (FEW_ROWS, torch.bfloat16)])
def test_under_autocast_few_rows_are_multiplied_in_float32(n: int, dtype: torch.dtype) -> None:
    query, table = torch.randn(3, 4, requires_grad=True), torch.randn(n, 4).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        scores = dots(query, table)
        pairs = pair_dots(query, table[:3])
    assert scores.dtype == dtype
    assert_close(scores.float(), query @ table.float().T, rtol=0.02, atol=0.05)
    assert pairs.dtype == torch.float32
    assert_close(pairs, (query * table[:3]).sum(1))
    scores.sum().backward()
    assert_close(query.grad, table.float().sum(0).expand(3, 4), rtol=0.02, atol=0.02)
