"""Compatibility of the parts of a recipe, checked before anything runs."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from mmkgc.components.kge.entity_encoders import ENTITY_ENCODERS
from mmkgc.components.kge.entity_encoders.base import STRUCTURE
from mmkgc.components.kge.fusions import FUSIONS
from mmkgc.components.kge.fusions.base import Fusion, Space
from mmkgc.components.kge.interactions import INTERACTIONS
from mmkgc.components.kge.interactions.base import Interaction, QueryInteraction
from mmkgc.components.kge.interactions.geometry import Dot
from mmkgc.components.kge.losses import LOSSES
from mmkgc.components.kge.losses.base import Loss, NegativeLoss, WholeGraphLoss
from mmkgc.components.kge.losses.self_adversarial import SelfAdversarial
from mmkgc.components.kge.model_config import ModelConfig
from mmkgc.components.kge.negatives import SAMPLERS

Choice = dict[str, Any]


def incompatibility(
    config: ModelConfig,
    modalities: Sequence[str],
    sampler: Choice | None,
    loss: Choice,
    predicts_relations: bool = False,
) -> str | None:
    """Why the parts are incompatible, given the modalities that have features; None if they are compatible."""
    try:
        with torch.device("meta"):  # no random numbers are drawn and no memory is allocated
            interaction = INTERACTIONS.create(config.interaction, config.dimension)
            fusion = FUSIONS.create(config.fusion, _space(config, modalities, interaction))
    except ValueError as error:
        return str(error)
    if predicts_relations and fusion.relational:
        return "relation prediction cannot work here: the views of this fusion depend on the relation"
    return (
        _of_model(config, modalities, interaction)
        or _of_loss(config, loss, sampler, fusion, interaction)
        or _of_sampler(sampler, fusion, interaction)
    )


def caution(config: ModelConfig, loss: Choice) -> str | None:
    """What the parts can do together, but is probably not meant; None if nothing."""
    made = LOSSES.create(loss)
    if not (isinstance(made, SelfAdversarial) and made.margin):
        return None
    with torch.device("meta"):
        interaction = INTERACTIONS.create(config.interaction, config.dimension)
    if not (isinstance(interaction, QueryInteraction) and isinstance(interaction.geometry, Dot)):
        return None
    name = config.interaction["name"]
    return f"train.loss.margin is {made.margin:g}, which suits distances; scores of {name} are products: 0 is usual"


def _space(config: ModelConfig, modalities: Sequence[str], interaction: Interaction) -> Space:
    structure = (STRUCTURE,) if config.structure else ()
    widths = dict.fromkeys(modalities, 1)
    contexts = ENTITY_ENCODERS.lookup(config.encoder["name"]).contexts
    return Space(
        (*structure, *modalities),
        interaction.entity_width,
        1,
        widths,
        interaction=interaction,
        contexts=contexts,
        make_interaction=partial(INTERACTIONS.create, config.interaction),
    )


def _of_model(config: ModelConfig, modalities: Sequence[str], interaction: Interaction) -> str | None:
    if not config.structure and not modalities:
        return "a model without structure needs features of at least one modality"
    if reason := interaction.incompatibility(config.reciprocal):
        return f"interaction '{config.interaction['name']}' cannot work here: {reason}"
    encoder = config.encoder["name"]
    reason = ENTITY_ENCODERS.lookup(encoder).incompatibility(config.structure, interaction)
    return f"entity encoder '{encoder}' cannot work here: {reason}" if reason else None


def _of_loss(
    config: ModelConfig, loss: Choice, sampler: Choice | None, fusion: Fusion, interaction: Interaction
) -> str | None:
    kind: type[Loss] = LOSSES.lookup(loss["name"])
    if getattr(kind, "graded", False):
        return f"loss '{loss['name']}' grades negatives by levels, which sampler 'dhns' brings along; name another one"
    if issubclass(kind, NegativeLoss):
        return f"loss '{loss['name']}' needs a sampler; name one in `negatives`" if sampler is None else None
    if sampler is not None:
        return (
            f"loss '{loss['name']}' compares with every entity, so sampler '{sampler['name']}' has nothing to choose; "
            "leave `negatives` out, or take a loss over negatives"
        )
    if issubclass(kind, WholeGraphLoss) and (reason := _of_closed_form(config, fusion, interaction)):
        return f"loss '{loss['name']}' cannot work here: {reason}"
    return None


def _of_closed_form(config: ModelConfig, fusion: Fusion, interaction: Interaction) -> str | None:
    own = [term.interaction or interaction for term in fusion.terms]
    if not all(each.knows_sum_of_squares() for each in own):
        known = [name for name, found in INTERACTIONS.classes().items() if found.knows_sum_of_squares()]
        return f"it needs the sum of squared scores in closed form, which {', '.join(known)} have"
    if fusion.relational:
        return "the views of this fusion depend on the relation, so its sum has no closed form"
    if config.reciprocal:
        return "with reciprocal relations a triple has two scores; set model.reciprocal: false"
    return None


def _of_sampler(sampler: Choice | None, fusion: Fusion, interaction: Interaction) -> str | None:
    if sampler is None:
        return None
    reason = SAMPLERS.lookup(sampler["name"]).incompatibility(fusion, interaction)
    return f"sampler '{sampler['name']}' cannot work here: {reason}" if reason else None
