"""Gradients that several operations add up in one table."""

import torch
from torch import Tensor

from mmkgc.components.kge.kernels import comparison
from mmkgc.components.kge.kernels.rows import share, take


def losses(table: Tensor, shared: Tensor) -> tuple[Tensor, Tensor]:
    """A loss of operations that know shared tables, and one with an operation that does not."""
    generator = torch.Generator().manual_seed(0)
    index, ids = (torch.randint(len(table), shape, generator=generator) for shape in ((6, 9), (6,)))
    known = comparison.candidates("modulus", take(shared, ids), shared, index).sin().sum()
    known = known + take(shared, ids.view(2, 3)).square().sum()
    known = known + comparison.everyone("l1", take(shared, ids).detach(), shared).sum()
    return known, known + shared[3].square().sum()


def test_a_shared_table_gets_the_gradient_of_an_ordinary_one() -> None:
    table = torch.randn(50, 8, requires_grad=True)
    for which in range(2):
        doubled, ordinary = share(table * 2), table * 2
        ours = torch.autograd.grad(losses(table, doubled)[which], table)
        theirs = torch.autograd.grad(losses(table, ordinary)[which], table)
        torch.testing.assert_close(ours, theirs)


def test_a_pass_that_does_not_reach_the_table_leaves_nothing_behind() -> None:
    table = torch.randn(50, 8, requires_grad=True)
    weight, index = torch.ones(6, 9, requires_grad=True), torch.randint(50, (6, 9))
    shared = share(table * 2)
    score = (comparison.candidates("l2", take(shared, index[:, 0]), shared, index) * weight).sum()
    torch.autograd.grad(score, weight, retain_graph=True)
    first = torch.autograd.grad(score, table, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(score, table), first)
    ordinary = table * 2
    score = comparison.candidates("l2", ordinary[index[:, 0]], ordinary, index).sum()
    torch.testing.assert_close(torch.autograd.grad(score, table), first)


def test_without_gradients_a_table_stays_what_it_is() -> None:
    table = torch.randn(5, 8, requires_grad=True)
    with torch.no_grad():
        assert share(table) is table
    assert share(table.detach()).grad_fn is None
