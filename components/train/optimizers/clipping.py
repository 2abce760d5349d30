"""Clipping of gradients, of which some may be sparse."""

from collections.abc import Sequence

import torch
from torch import nn


@torch.no_grad()
def clip_gradients(parameters: Sequence[nn.Parameter], most: float) -> None:
    """Scale all gradients so that their joint L2 norm is at most ``most``; PyTorch's function takes no sparse ones."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not any(gradient.is_sparse for gradient in gradients):
        torch.nn.utils.clip_grad_norm_(parameters, most)
        return
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
    whole = [parameter.grad for parameter in parameters if parameter.grad is not None]
    numbers = [gradient.values() if gradient.is_sparse else gradient for gradient in whole]
    factor = (most / (torch.nn.utils.get_total_norm(numbers) + 1e-6)).clamp(max=1.0)
    for each in numbers:
        each.mul_(factor)
