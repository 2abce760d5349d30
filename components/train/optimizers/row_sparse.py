"""Base class of optimisers that change only the rows of a table that a batch has read.

N rows of a table, U rows of a batch, d width.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


class RowSparse(torch.optim.Optimizer, ABC):
    """An optimiser whose step costs the rows of the batch, not the table.

    The gradient of a table is then a sparse tensor of the rows that were read (see ``EntityEncoder.sparse``); all other
    gradients are dense, and their parameters are changed as by PyTorch's optimiser of the same kind. Weight decay
    applies to the rows of the batch alone.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Change every parameter that has a gradient."""
        loss = closure() if closure else None
        for group in self.param_groups:
            for parameter in (each for each in group["params"] if each.grad is not None):
                state = self.state[parameter]
                if not state:
                    state |= self.begin(parameter)
                state["step"] += 1
                rows, gradient = rows_of(parameter.grad)
                if group["weight_decay"]:
                    own = parameter if rows is None else parameter.index_select(0, rows)
                    gradient = gradient.add(own, alpha=group["weight_decay"])
                change = self.change(state, rows, gradient, group["lr"])
                if rows is None:
                    parameter.sub_(change)
                else:
                    parameter.index_add_(0, rows, change, alpha=-1)
        return loss

    @abstractmethod
    def begin(self, parameter: Tensor) -> dict[str, Any]:
        """The state of a parameter before its first step; ``step``: a tensor, the number of steps, 0."""

    @abstractmethod
    def change(self, state: dict[str, Any], rows: Tensor | None, gradient: Tensor, lr: float) -> Tensor:
        """What is subtracted from the ``rows[U]`` of a parameter with ``gradient`` ``[U, d]``, or from all of it if
        ``rows`` is None; updates ``state``.
        """


def rows_of(gradient: Tensor) -> tuple[Tensor | None, Tensor]:
    """Distinct rows ``[U]`` and their gradients ``[U, d]``; (None, the gradient) if it is dense."""
    if not gradient.is_sparse:
        return None, gradient
    gradient = gradient.coalesce()
    return gradient.indices()[0], gradient.values()
