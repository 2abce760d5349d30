"""Compiled rotations against those of complex numbers."""

import pytest
import torch

from mmkgc.components.kge.interactions.rotate import RotatE
from mmkgc.components.kge.kernels import rotation


@pytest.mark.parametrize("shape", [(170,), (170, 1), (2, 85)])
def test_a_rotation_and_its_gradients_are_those_of_complex_numbers(shape: tuple[int, ...], two_threads: None) -> None:
    d = 100
    vectors, phases = torch.randn(*shape, 2 * d, requires_grad=True), torch.randn(*shape, d, requires_grad=True)
    weight = torch.randn(*shape, 2 * d)
    interaction = RotatE(3, init=torch.pi)  # then a relation is its phases
    assert rotation.usable(vectors, phases)
    for side, sign in (("tail", 1), ("head", -1)):
        ours = interaction.query(vectors, phases, side)  # type: ignore[arg-type]
        v, p = (tensor.detach().double().requires_grad_() for tensor in (vectors, phases))
        turned = torch.complex(v[..., :d], v[..., d:]) * torch.polar(torch.ones_like(p), sign * p)
        expected = torch.cat([turned.real, turned.imag], dim=-1)
        torch.testing.assert_close(ours.double(), expected, atol=1e-5, rtol=1e-5)
        gradients = torch.autograd.grad((ours * weight).sum(), (vectors, phases))
        wanted = torch.autograd.grad((expected * weight).sum(), (v, p))
        for actual, right in zip(gradients, wanted, strict=True):
            torch.testing.assert_close(actual.double(), right, atol=1e-4, rtol=1e-4)


def test_what_broadcasts_or_is_small_or_of_other_precision_goes_another_way() -> None:
    vectors, phases = torch.zeros(170, 200), torch.zeros(170, 100)
    assert rotation.usable(vectors, phases)
    assert not rotation.usable(vectors, phases[:1])
    assert not rotation.usable(vectors[:10], phases[:10])
    assert not rotation.usable(vectors.flatten(), phases.flatten())
    assert not rotation.usable(vectors.double(), phases.double())
