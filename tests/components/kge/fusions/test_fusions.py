"""Every fusion: finite where a batch lacks a modality, and weights that add up.

``test_grid.py`` has the pairings with samplers and interactions, ``test_model.py`` the ways to score.
"""

from collections.abc import Callable

import pytest
import torch

from mmkgc.components.kge.fusions import FUSIONS
from mmkgc.components.kge.model import Model

MakeModel = Callable[..., Model]
WITHOUT_IMAGE = torch.tensor([0, 3, 6, 9])  # entities; every third has none
every_fusion = pytest.mark.parametrize("fusion", FUSIONS.classes())


@every_fusion
@pytest.mark.parametrize("missing", ["zeros", "learned", "random"])
def test_a_batch_without_an_image_has_finite_losses_and_gradients(
    fusion: str, missing: str, make_model: MakeModel
) -> None:
    model = make_model(fusion=fusion, missing=missing).train()
    encoded = model.encode([WITHOUT_IMAGE])
    relations = torch.zeros(len(WITHOUT_IMAGE), dtype=torch.long)
    triples = torch.stack([WITHOUT_IMAGE, relations, WITHOUT_IMAGE.roll(1)], dim=1)
    losses = [model.score_triples(triples).sum(), *model.fusion.auxiliary(encoded.modal).values()]
    assert all(loss.isfinite() for loss in losses)
    sum(losses).backward()  # type: ignore[union-attr]
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("fusion", [n for n, c in FUSIONS.classes().items() if "modality_weights" in vars(c)])
def test_weights_add_up_and_leave_out_what_is_missing(fusion: str, make_model: MakeModel) -> None:
    model = make_model(fusion=fusion, missing="zeros").eval()
    modal = model.entities.encode()
    relations = torch.arange(len(model.entities)) % 3
    weights = model.fusion.modality_weights(modal, relations)
    assert weights is not None
    torch.testing.assert_close(sum(weights.values()), torch.ones(len(model.entities)))
    for modality, weight in weights.items():
        assert not weight[~modal.present[modality]].any()


@every_fusion
def test_relations_reach_relational_fusions_alone(fusion: str, make_model: MakeModel) -> None:
    """What a fusion makes without relations, it makes with them: unless it says that it needs them."""
    model = make_model(fusion=fusion).eval()
    modal = model.entities.encode()
    if not model.fusion.relational:
        with_them = model.fusion.views(modal, torch.zeros(len(model.entities), dtype=torch.long))
        without = model.fusion.views(modal)
        assert all(torch.equal(with_them[name], without[name]) for name in without)
