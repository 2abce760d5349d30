"""Checkpoints: a damaged one is set aside, and one process at a time trains with them."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mmkgc.components.runtime.errors import UserError
from mmkgc.components.train import checkpoint

CPU = torch.device("cpu")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    place = data.index(torch.arange(100, 200).numpy().tobytes()) + 400  # in a tensor: torch.load would not notice
    data[place] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage", [flip, lambda path: path.write_bytes(b""), lambda path: path.write_bytes(path.read_bytes()[:700])]
)
def test_a_damaged_checkpoint_is_set_aside(
    damage: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "checkpoint.pt"
    assert checkpoint.load(path, CPU) is None
    checkpoint.save(path, {"epoch": 3, "weights": torch.arange(100, 200)})
    state = checkpoint.load(path, CPU)
    assert state is not None
    assert state["epoch"] == 3
    damage(path)
    assert checkpoint.load(path, CPU) is None
    assert [found.name for found in tmp_path.iterdir()] == ["checkpoint.pt.damaged-1"]
    assert "training begins anew" in capsys.readouterr().err


def test_two_trainings_never_share_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "PATIENCE_SECONDS", 0.1)
    with checkpoint.owned(tmp_path / "key"):
        with pytest.raises(UserError, match=r"training with the checkpoints of .*key: process \d+ does this already"):  # noqa: SIM117
            with checkpoint.owned(tmp_path / "key"):
                pass
        with checkpoint.owned(tmp_path / "another"):
            pass
