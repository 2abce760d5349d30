"""The projection of frozen features in bfloat16 is PyTorch's, with its gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import linear
from torch.testing import assert_close

from mmkgc.components.kge.kernels.products import ROUND
from mmkgc.components.kge.kernels.projection import project


@settings(deadline=None)
@given(st.integers(0, 2 * ROUND + 1), st.booleans())
def test_products_and_gradients_are_those_of_autocast(rows: int, has_bias: bool) -> None:
    features, upstream = torch.randn(rows, 5), torch.randn(rows, 3)
    found = []
    for projection in (project, linear):
        torch.manual_seed(0)
        leaves = [torch.randn(3, 5, requires_grad=True)] + [torch.randn(3, requires_grad=True)] * has_bias
        with torch.autocast("cpu", torch.bfloat16):
            made = projection(features, *leaves)
        assert made.dtype == torch.bfloat16
        found.append((made, *torch.autograd.grad(made, leaves, upstream.to(made))))
    for ours, theirs in zip(*found, strict=True):
        assert_close(ours, theirs, rtol=0.02, atol=0.02 * max(rows, 1) ** 0.5)


def test_features_that_learn_get_gradients() -> None:
    features, weight = torch.randn(2, 5, requires_grad=True), torch.randn(3, 5)
    with torch.autocast("cpu", torch.bfloat16):
        project(features, weight).sum().backward()
    assert features.grad is not None
    assert_close(features.grad, weight.sum(0).expand(2, 5), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("shape", [(5,), (2, 3, 5)])
def test_rows_have_any_shape(shape: tuple[int, ...]) -> None:
    features, weight, bias = torch.randn(*shape), torch.randn(3, 5), torch.randn(3)
    with torch.autocast("cpu", torch.bfloat16):
        assert project(features, weight, bias).shape == (*shape[:-1], 3)
    assert_close(project(features, weight, bias), linear(features, weight, bias))
