"""Tensor helpers: sums, and blocked evaluation that avoids tensors of shape ``[B, N, d]``.

Under torch.compile nothing is blocked, because it fuses a comparison with its sum.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mmkgc.components.kge.kernels.rows import take

BLOCK_FLOATS = {"cpu": 1 << 19, "cuda": 1 << 26}  # 2 MB of float32 fit into the cache; 256 MB keep a GPU busy


def total(tensors: Iterable[Tensor]) -> Tensor:
    """Sum of one or more tensors."""
    return reduce(torch.add, tensors)


def total_product(*matrices: Tensor) -> Tensor:
    """Sum of the elementwise product of matrices of one shape."""
    return reduce(torch.mul, matrices).sum()


def joined(parts: Sequence[Tensor]) -> Tensor:
    """The concatenated rows of one or more tensors; unlike ``torch.cat``, a single tensor is not copied."""
    return parts[0] if len(parts) == 1 else torch.cat(tuple(parts))


def random_vectors(*shape: int) -> Tensor:
    """Normal vectors ``[..., d]`` with a mean squared length of 1, as initial values.

    On the meta device, where bundles are built before they get their tensors, nothing is drawn, because PyTorch would
    import its compiler, which takes seconds.
    """
    vectors = torch.empty(shape)
    return vectors if vectors.is_meta else torch.randn(shape) / shape[-1] ** 0.5


def at_least_float32(scores: Tensor) -> Tensor:
    """Scores of half precision as float32, others as they are."""
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


def slices(length: int, size: int) -> Iterator[slice]:
    """Consecutive slices of at most ``size`` that cover ``range(length)``."""
    for start in range(0, length, size):
        yield slice(start, start + size)


def rows_at_once(width: int, device: torch.device) -> int:
    """Number of rows of ``width`` numbers in one block, at least one."""
    return max(1, BLOCK_FLOATS.get(device.type, BLOCK_FLOATS["cpu"]) // max(1, width))


def recomputed(function: Callable[..., Tensor], *operands: Tensor) -> Tensor:
    """``function(*operands)``, whose intermediates are recomputed in the backward pass instead of stored."""
    if torch.is_grad_enabled() and any(operand.requires_grad for operand in operands):
        return checkpoint(function, *operands, use_reentrant=False, preserve_rng_state=False)
    return function(*operands)


def grid(function: Callable[[Tensor, Tensor], Tensor], rows: Tensor, columns: Tensor) -> Tensor:
    """``[B, N]`` of ``function(rows[B, 1, d], columns[1, N, d])``, block by block."""
    width = columns.shape[-1]
    n_columns = min(len(columns), rows_at_once(width, columns.device))
    n_rows = rows_at_once(width * n_columns, columns.device)
    if torch.compiler.is_compiling() or (len(rows) <= n_rows and len(columns) <= n_columns):
        return function(rows.unsqueeze(1), columns.unsqueeze(0))
    return torch.cat(
        [
            torch.cat(
                [
                    recomputed(function, rows[i].unsqueeze(1), columns[j].unsqueeze(0))
                    for j in slices(len(columns), n_columns)
                ],
                dim=1,
            )
            for i in slices(len(rows), n_rows)
        ]
    )


def gathered(function: Callable[[Tensor, Tensor], Tensor], rows: Tensor, table: Tensor, index: Tensor) -> Tensor:
    """``[B, K]`` of ``function(rows[B, 1, d], table[index][B, K, d])``, block by block of rows."""

    def score(row: Tensor, table: Tensor, index: Tensor) -> Tensor:
        return function(row.unsqueeze(1), take(table, index))

    size = rows_at_once(table.shape[-1] * index.shape[1], table.device)
    if torch.compiler.is_compiling() or len(rows) <= size:
        return score(rows, table, index)
    return torch.cat([recomputed(score, rows[i], table, index[i]) for i in slices(len(rows), size)])
