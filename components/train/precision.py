"""Precision of the arithmetic in training."""

import logging
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

log = logging.getLogger(__name__)

Precision = Literal["auto", "float32", "bfloat16"]
PROCESSOR_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")  # x86, x86, Arm


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for products of bfloat16 matrices.

    PyTorch computes them elsewhere too, on an x86 processor ten times slower than in float32.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in PROCESSOR_INSTRUCTIONS)


def choose(wanted: Precision, device: torch.device) -> torch.dtype:
    """The type to compute in: with ``auto`` bfloat16 on a GPU that has it; float32 where the device has no bfloat16."""
    if wanted == "float32" or (wanted == "auto" and device.type != "cuda"):
        return torch.float32
    if has_bfloat16(device):
        return torch.bfloat16
    if wanted == "bfloat16":
        log.warning("this %s has no bfloat16 instructions: the training computes in float32", _kind(device))
    return torch.float32


def autocast(dtype: torch.dtype, device: torch.device) -> AbstractContextManager:
    """Context in which matrix products have this type."""
    return torch.autocast(device.type, dtype) if dtype == torch.bfloat16 else nullcontext()


def _kind(device: torch.device) -> str:
    return "GPU" if device.type == "cuda" else "processor"
