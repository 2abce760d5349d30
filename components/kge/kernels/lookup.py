"""Looking codes up in a hash table and a sorted list: one pass instead of a dozen over all codes."""

import numpy as np
import torch
from torch import Tensor


def usable(codes: Tensor) -> bool:
    """Whether the kernel serves these codes."""
    return codes.device.type == "cpu" and not torch.compiler.is_compiling()


def holds(codes: Tensor, known: Tensor, taken: np.ndarray, factor: int, shift: int) -> Tensor:
    """Which ``codes[P]`` are among the ascending ``known``, bool ``[P]``.

    ``taken``: a power of two of places, eight a byte, the lowest bit first; of a known code the last bits of
    ``code · factor >> shift`` are the number of a place that is taken.
    """
    from components.kge.kernels import loops

    found = torch.empty(codes.shape, dtype=torch.bool)
    loops.holds(codes.contiguous().numpy(), known.numpy(), taken, factor, shift, found.numpy())
    return found
