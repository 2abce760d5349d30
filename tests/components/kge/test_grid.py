"""The grid sampler × fusion × interaction: what is allowed takes a step that lowers the loss, the rest is refused."""

from collections.abc import Callable

import pytest
import torch

from mmkgc.components.kge.batch_loss import batch_losses
from mmkgc.components.kge.compatibility import incompatibility
from mmkgc.components.kge.fusions import FUSIONS
from mmkgc.components.kge.interactions import INTERACTIONS
from mmkgc.components.kge.losses import LOSSES
from mmkgc.components.kge.losses.base import AllEntityLoss
from mmkgc.components.kge.model import Model, ModelConfig
from mmkgc.components.kge.negatives import SAMPLERS
from mmkgc.components.kge.negatives.base import Context
from mmkgc.components.kge.negatives.samples import Batch
from mmkgc.components.kge.negatives.scoring import score_blocks
from mmkgc.components.kge.tensors import total

MODALITIES = ("visual", "textual")
REFUSED = {
    **{(name, fusion): "positive" for name in ("mans-v", "mans-t", "mans-h") for fusion in ("structure", "mose")},
    **{("mans-a", fusion): "unimodal" for fusion in FUSIONS.classes() if fusion not in ("ikrl", "tbkgc")},
    ("mat", "structure"): "generate",
    **{("dhns", interaction): "space of the entities" for interaction in ("transh", "transd", "pairre")},
}
RECIPROCAL = ("conve", "tucker")  # interactions that cannot work without reciprocal relations
MakeModel, MakeContext = Callable[..., Model], Callable[..., Context]


@pytest.mark.parametrize("sampler", SAMPLERS.classes())
@pytest.mark.parametrize("interaction", INTERACTIONS.classes())
def test_a_step_lowers_the_loss_or_the_pair_is_refused(
    sampler: str, interaction: str, make_model: MakeModel, make_context: MakeContext, batch: Batch
) -> None:
    for fusion in FUSIONS.classes():
        reason = REFUSED.get((sampler, fusion)) or REFUSED.get((sampler, interaction))
        settings = {"interaction": {"name": interaction, "init": 0.5}, "fusion": fusion, "dimension": 6}
        settings["reciprocal"] = interaction in RECIPROCAL
        choice, loss = SAMPLERS.resolve({"name": sampler, "count": 3}), LOSSES.resolve("self-adversarial")
        told = incompatibility(ModelConfig(**settings), MODALITIES, choice, loss)
        assert (told is None) == (reason is None), (fusion, told)
        if told is None:
            _step(make_model(**settings).eval(), choice, make_context, batch)  # dropout would hide the step's effect
        else:
            assert reason in told


def _step(model: Model, choice: dict[str, object], make_context: MakeContext, batch: Batch) -> None:
    """One small step of gradient descent, in float64 so that its effect is seen; every gradient is finite."""
    model.double()
    context = make_context(model, {"name": "self-adversarial", "margin": 3})
    sampler = SAMPLERS.create(choice, context).double()
    blocks = sampler.refine(batch, sampler.sample(batch, model), model.encode(), model)
    losses, scored = batch_losses(model, batch, blocks, context.loss, context.train)
    before = total(losses.values())
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(before, parameters, allow_unused=True)
    assert all(gradient is None or gradient.isfinite().all() for gradient in gradients)
    length = total(gradient.square().sum() for gradient in gradients if gradient is not None).sqrt()
    assert length > 0
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                parameter -= 1e-5 / length * gradient
    sampler.update(batch, scored, model)
    after = total(batch_losses(model, batch, blocks, context.loss, context.train).losses.values())
    assert after < before
    for block in blocks:
        rows = len(block.rows)
        positive, negative = score_blocks(model, model.everyone(), batch.triples, [block], block.terms)
        assert positive.shape == (rows,)
        assert negative.shape[0] == rows


@pytest.mark.parametrize("name", [n for n, c in LOSSES.classes().items() if issubclass(c, AllEntityLoss)])
@pytest.mark.parametrize("interaction", INTERACTIONS.classes())
def test_all_entity_losses_fall_too(
    interaction: str, name: str, make_model: MakeModel, make_context: MakeContext, batch: Batch
) -> None:
    for fusion in FUSIONS.classes():
        reciprocal = name == "cross-entropy" or interaction in RECIPROCAL
        scorer = {"name": interaction, "init": 0.5}
        model = make_model(interaction=scorer, fusion=fusion, reciprocal=reciprocal).double().eval()
        context = make_context(model, name)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        values = []
        for _ in range(2):
            loss = total(batch_losses(model, batch, [], context.loss, context.train).losses.values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            values.append(loss.item())
        assert values[1] < values[0], fusion


def test_fusions_that_lack_their_features_are_refused() -> None:
    loss = LOSSES.resolve("cross-entropy")
    for fusion, given, missing in (("ikrl", ("textual",), "visual"), ("tbkgc", ("visual",), "textual")):
        told = incompatibility(ModelConfig(fusion=fusion), given, None, loss)
        assert f"needs {missing} features" in str(told)


def test_losses_that_do_not_fit_the_sampler_are_refused() -> None:
    uniform = SAMPLERS.resolve("uniform")
    assert "leave `negatives` out" in str(
        incompatibility(ModelConfig(), MODALITIES, uniform, LOSSES.resolve("cross-entropy"))
    )
    assert "needs a sampler" in str(incompatibility(ModelConfig(), MODALITIES, None, LOSSES.resolve("margin")))
    graded = LOSSES.resolve("hardness-adaptive")
    assert "grades negatives" in str(incompatibility(ModelConfig(), MODALITIES, uniform, graded))
