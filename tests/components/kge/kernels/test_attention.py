"""Compiled attention over modalities against AdaMF's own operations in float64."""

import pytest
import torch
from torch import Tensor

from mmkgc.components.kge.entity_encoders.base import ModalityEmbeddings
from mmkgc.components.kge.fusions.adamf import AdaMF
from mmkgc.components.kge.fusions.base import Space
from mmkgc.components.kge.kernels import attention

MODALITIES = ("structure", "textual", "visual")


def joint_and_gradients(fusion: AdaMF, modal: ModalityEmbeddings, weight: Tensor) -> list[Tensor]:
    joint = fusion.fuse(modal, None)["joint"]
    return [joint, *torch.autograd.grad((joint * weight).sum(), [*modal.vectors.values(), *fusion.attention.values()])]


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("shape", [(1100,), (1100, 1), (2, 550)])
def test_the_joint_vector_and_its_gradients_are_those_of_pytorch(
    shape: tuple[int, ...], shared: bool, two_threads: None
) -> None:
    """A modality missing here and there, and one entity without any."""
    d = 123
    fusion = AdaMF(Space(MODALITIES, d, 1), shared=shared)
    vectors = {m: torch.randn(*shape, d, requires_grad=True) for m in MODALITIES}
    present = {m: torch.rand(shape) > share for m, share in zip(MODALITIES, (0.0, 0.3, 0.6), strict=True)}
    for mask in present.values():
        mask.flatten()[7] = False
    weight = torch.randn(*shape, d)
    assert attention.usable(torch.empty(3, d), list(vectors.values()))
    ours = joint_and_gradients(fusion, ModalityEmbeddings(vectors, present), weight)
    exact = {m: vector.detach().double().requires_grad_() for m, vector in vectors.items()}
    theirs = joint_and_gradients(fusion.double(), ModalityEmbeddings(exact, present), weight.double())
    for actual, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(actual.double(), expected, atol=1e-3, rtol=1e-4)


def test_what_is_small_or_of_other_shape_or_precision_goes_another_way() -> None:
    weights, vectors = torch.zeros(2, 100), [torch.zeros(1400, 100)] * 2
    assert attention.usable(weights, vectors)
    assert not attention.usable(weights, [vector[:10] for vector in vectors])
    assert not attention.usable(weights, [vectors[0], vectors[1][:, None]])
    assert not attention.usable(torch.zeros(1, 140_000), [torch.zeros(140_000)])
    assert not attention.usable(weights.double(), [vector.double() for vector in vectors])
