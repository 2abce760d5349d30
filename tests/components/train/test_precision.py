"""bfloat16 is used where the device has it."""

import logging

import pytest
import torch

from mmkgc.components.train import precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("capabilities", "wanted", "chosen"),
    [
        ({"avx512_bf16": True}, "bfloat16", torch.bfloat16),
        ({"amx_bf16": True}, "bfloat16", torch.bfloat16),
        ({"bf16": True}, "bfloat16", torch.bfloat16),
        ({"avx512_bf16": True}, "auto", torch.float32),
        ({"avx512_bf16": True}, "float32", torch.float32),
        ({"avx2": True, "avx512_bf16": False}, "bfloat16", torch.float32),
    ],
)
def test_a_processor_without_bfloat16_computes_in_float32(
    capabilities: dict[str, bool],
    wanted: precision.Precision,
    chosen: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    with caplog.at_level(logging.WARNING):
        assert precision.choose(wanted, CPU) == chosen
    assert ("no bfloat16 instructions" in caplog.text) == (wanted == "bfloat16" and chosen == torch.float32)


def test_matrix_products_have_the_chosen_type() -> None:
    with precision.autocast(torch.bfloat16, CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    with precision.autocast(torch.float32, CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
