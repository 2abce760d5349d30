"""The squared gradients that Adagrad has summed: a bundle keeps them, and a warm start goes on with them.

Of a matrix it is the mean of each row, which is the accumulator of ``RowAdagrad``: N numbers in place of Adagrad's
N × d.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmkgc.components.train.optimizers.row_adagrad import RowAdagrad

SUMMING, SUM = (torch.optim.Adagrad, RowAdagrad), "sum"  # the optimizers, and the name in their states


def squares_of(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """By name of a parameter, ``[N]`` of a matrix ``[N, d]``, else of its own shape; nothing of other optimizers."""
    states = {name: optimizer.state.get(parameter, {}) for name, parameter in model.named_parameters()}
    sums = {name: state[SUM] for name, state in states.items() if SUM in state}
    return {name: total.mean(1) if total.dim() == 2 else total for name, total in sums.items()}


def go_on_with(squares: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
    """Let Adagrad begin with these ``squares``; any other optimizer begins anew."""
    if not isinstance(optimizer, SUMMING):
        return
    for name, parameter in model.named_parameters():
        if name in squares:
            state = optimizer.state[parameter]
            if isinstance(optimizer, RowAdagrad):  # else made in the first step
                state |= optimizer.begin(parameter)
            total = state[SUM]
            total.copy_(squares[name].unsqueeze(1) if total.dim() == 2 else squares[name])
