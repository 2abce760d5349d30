"""The grid sampler × fusion × interaction: what is allowed takes a step that lowers the loss, the rest is refused."""

from collections.abc import Callable

import pytest
import torch

from mmkgc.components.kge.batch_loss import batch_losses
from mmkgc.components.kge.compatibility import incompatibility
from mmkgc.components.kge.fusions import FUSIONS
from mmkgc.components.kge.interactions import INTERACTIONS
from mmkgc.components.kge.kernels import products
from mmkgc.components.kge.losses import LOSSES
from mmkgc.components.kge.losses.base import AllEntityLoss
from mmkgc.components.kge.model import Model, ModelConfig
from mmkgc.components.kge.negatives import SAMPLERS
from mmkgc.components.kge.negatives.base import Context
from mmkgc.components.kge.negatives.samples import Batch
from mmkgc.components.kge.negatives.scoring import score_blocks
from mmkgc.components.kge.tensors import total

MODALITIES = ("visual", "textual")
ALONE = ("structure", "gc-ote")  # fusions that use structure alone
APART = (*ALONE, "mose", "mose-bi", "mose-mi")  # fusions that score structure alone or apart
RAW = ("rsme", "otkge", "transae")  # fusions that project features themselves
REFUSED = {
    **{(name, fusion): "positive" for name in ("mans-v", "mans-t", "mans-h") for fusion in APART},
    **{
        ("mans-a", fusion): "unimodal"
        for fusion in FUSIONS.classes()
        if fusion not in ("ikrl", "tbkgc", "vbkgc", "mmkrl")
    },
    **{("mat", fusion): "generate" for fusion in ALONE},
    **{(name, fusion): "no features" for name in ("twins", "perturbation") for fusion in ALONE},
    **{(name, fusion): "raw features" for name in ("mat", "dhns") for fusion in RAW},
    ("dhns", "ensemble"): "interactions of its own",
    **{(name, "transae"): "structure: true" for name in ("mans-v", "mans-t", "mans-h", "twins", "mat")},
}
MOVED = {("dhns", name): "space of the entities" for name in ("transh", "transd", "pairre", "ote")}  # by interaction
RECIPROCAL = ("conve", "tucker", "vista")  # interactions that cannot work without reciprocal relations
INDIVISIBLE = {("conve", "ensemble"): "cannot share dimension"}
DIMENSIONS = {"conve": 5}  # whose entities have a coordinate more, and halves must be possible
MakeModel, MakeContext = Callable[..., Model], Callable[..., Context]


@pytest.mark.parametrize("sampler", SAMPLERS.classes())
@pytest.mark.parametrize("interaction", INTERACTIONS.classes())
def test_a_step_lowers_the_loss_or_the_pair_is_refused(
    sampler: str, interaction: str, make_model: MakeModel, make_context: MakeContext, batch: Batch
) -> None:
    for fusion in FUSIONS.classes():
        reason = MOVED.get((sampler, interaction)) or REFUSED.get((sampler, fusion))
        reason = INDIVISIBLE.get((interaction, fusion)) or reason
        settings = {"interaction": {"name": interaction, "init": 0.5}, "fusion": fusion}
        settings |= {"dimension": DIMENSIONS.get(interaction, 6), "reciprocal": interaction in RECIPROCAL}
        if fusion == "gc-ote":
            settings["encoder"] = "graph-context"
            reason = "interaction 'ote'" if interaction != "ote" else reason
        choice, loss = SAMPLERS.resolve({"name": sampler, "count": 3}), LOSSES.resolve("self-adversarial")
        told = incompatibility(ModelConfig(**settings), MODALITIES, choice, loss)
        assert (told is None) == (reason is None), (
            f"{sampler}, {interaction}, {fusion}: it is {'allowed' if told is None else f'refused ({told})'}; "
            "if that is right, change REFUSED or MOVED"
        )
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
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
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
    for fusion in (fusion for fusion in FUSIONS.classes() if fusion != "gc-ote" or interaction == "ote"):
        if (interaction, fusion) in INDIVISIBLE:
            continue
        reciprocal = name == "cross-entropy" or interaction in RECIPROCAL
        settings = {"interaction": {"name": interaction, "init": 0.5}, "fusion": fusion, "reciprocal": reciprocal}
        model = make_model(**settings, dimension=DIMENSIONS.get(interaction, 6)).double().eval()
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


@pytest.mark.parametrize("loss", ["self-adversarial", "cross-entropy"])
@pytest.mark.parametrize("interaction", INTERACTIONS.classes())
def test_mixed_precision_gives_finite_gradients(
    interaction: str,
    loss: str,
    make_model: MakeModel,
    make_context: MakeContext,
    batch: Batch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in training on a GPU: PyTorch's autocast turns matrix products into bfloat16."""
    monkeypatch.setattr(products, "lowered", lambda matrix: False)  # all, also of few rows
    settings = {"interaction": {"name": interaction, "init": 0.5}, "dimension": DIMENSIONS.get(interaction, 6)}
    model = make_model(**settings, fusion="mose", reciprocal=True).train()
    context = make_context(model, loss)
    sampler = SAMPLERS.create({"name": "uniform", "count": 3}, context)
    with torch.autocast("cpu", torch.bfloat16):
        blocks = [] if isinstance(context.loss, AllEntityLoss) else sampler.sample(batch, model)
        value = total(batch_losses(model, batch, blocks, context.loss, context.train).losses.values())
    value.backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


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
