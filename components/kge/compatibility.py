"""Which parts of a recipe can work together; what cannot is refused with the reason, before anything runs."""

from collections.abc import Sequence
from typing import Any

from mmkgc.components.kge.entity_encoders.table import STRUCTURE
from mmkgc.components.kge.fusions import FUSIONS
from mmkgc.components.kge.fusions.base import Space
from mmkgc.components.kge.interactions import INTERACTIONS
from mmkgc.components.kge.losses import LOSSES
from mmkgc.components.kge.losses.base import AllEntityLoss
from mmkgc.components.kge.model import ModelConfig
from mmkgc.components.kge.negatives import SAMPLERS


def incompatibility(
    config: ModelConfig, modalities: Sequence[str], sampler: dict[str, Any] | None, loss: dict[str, Any]
) -> str | None:
    """Why the parts cannot work together, given the modalities that have features; None where they can."""
    interaction = INTERACTIONS.create(config.interaction)
    space = Space((STRUCTURE, *modalities), interaction.entity_width(config.dimension), n_relations=1)
    try:
        fusion = FUSIONS.create(config.fusion, space)
    except ValueError as error:
        return str(error)
    if getattr(LOSSES.lookup(loss["name"]), "graded", False):
        return f"objective '{loss['name']}' grades negatives by levels that 'dhns' brings along; name another one"
    compares_with_all = issubclass(LOSSES.lookup(loss["name"]), AllEntityLoss)
    if sampler is None:
        return None if compares_with_all else f"objective '{loss['name']}' needs a strategy; name one in `negatives`"
    if compares_with_all:
        return (
            f"objective '{loss['name']}' compares with every entity, so strategy '{sampler['name']}' has nothing "
            "to choose; leave `negatives` out, or take an objective over negatives"
        )
    reason = SAMPLERS.lookup(sampler["name"]).incompatibility(fusion, interaction)
    return f"strategy '{sampler['name']}' cannot work here: {reason}" if reason else None
