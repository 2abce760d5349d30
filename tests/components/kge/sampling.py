"""A batch's negatives as the trainer asks for them, and what tests compare of them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mmkgc.components.kge.batch_loss import batch_losses
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.negatives import SAMPLERS
from mmkgc.components.kge.negatives.base import Context, NegativeSampler
from mmkgc.components.kge.negatives.samples import Batch, EntityNegatives, NegativeBlock, ids_of
from mmkgc.components.kge.tensors import total

MakeModel, MakeContext = Callable[..., Model], Callable[..., Context]


def sampler(name: str, context: Context, **parameters: Any) -> NegativeSampler:
    torch.manual_seed(9)
    return SAMPLERS.create({"name": name, **parameters}, context)


def refined(chosen: NegativeSampler, batch: Batch, model: Model) -> list[NegativeBlock]:
    """The blocks that the loss sees."""
    blocks = chosen.sample(batch, model)
    return chosen.refine(batch, blocks, model.encode(ids_of(batch.triples, blocks)), model)


def ids_and_parts(blocks: list[NegativeBlock]) -> list[Tensor]:
    """Everything that is drawn, in order."""
    drawn: list[Tensor] = []
    for block in blocks:
        side = block.head or block.tail
        assert isinstance(side, EntityNegatives)
        drawn += [block.rows, side.ids, *side.parts.values()]
    return drawn


def loss_and_gradients(model: Model, batch: Batch, blocks: list[NegativeBlock], context: Context) -> list[Tensor]:
    losses = batch_losses(model, batch, blocks, context.loss, context.train).losses
    loss = total(losses.values())
    return [loss, *torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)]


def assert_same_bits(left: list[Tensor | None], right: list[Tensor | None]) -> None:
    for ours, theirs in zip(left, right, strict=True):
        assert (ours is None and theirs is None) or torch.equal(ours, theirs)
