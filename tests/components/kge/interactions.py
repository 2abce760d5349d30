"""Interactions in double precision with vectors drawn for them, as the tests of this folder ask them."""

from typing import Any

import torch
from torch import Tensor

from mmkgc.components.kge.interactions import INTERACTIONS
from mmkgc.components.kge.interactions.base import Interaction

D = 3


def make(choice: dict[str, Any], dimension: int = D) -> Interaction:
    torch.manual_seed(0)
    return INTERACTIONS.create(choice, dimension).double().eval()


def tables(interaction: Interaction, seed: int, entities: int = 9, relations: int = 3) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    sizes = (entities, interaction.entity_width), (relations, interaction.relation_width)
    entity, relation = (torch.randn(size, generator=random, dtype=torch.float64) for size in sizes)
    return entity.requires_grad_(), relation.requires_grad_()
