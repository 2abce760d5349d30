"""What a training needs: it grows with what it should grow with, and too much is refused with the remedy."""

from pathlib import Path
from typing import Any

import pytest

from mmkgc.components.runtime.errors import UserError
from mmkgc.components.train import needs as module
from mmkgc.components.train.config import TrainConfig
from mmkgc.components.train.forecast import Forecast
from mmkgc.components.train.needs import Needs, needs, refuse_if_too_large

N, T, E = 1_000_000, 10_000_000, 256
SHARED = {"name": "shared", "count": 64}


def config(**changes: Any) -> TrainConfig:
    model = {"dimension": 128, "interaction": "complex", "fusion": "sum"}
    return TrainConfig(**({"model": model, "negatives": SHARED, "batch_size": 8192} | changes))


def total(found: Needs) -> int:
    return sum(found.memory.values())


def test_vectors_and_state_of_adam_are_counted() -> None:
    found = needs(config(), N, T, {}).memory
    assert found["entity vectors"] == N * E * 4
    assert found["optimizer"] == pytest.approx(2 * N * E * 4, rel=0.01)
    assert found["best epoch"] == N * E * 4
    assert needs(config(keep="last"), N, T, {}).memory["best epoch"] == 0


def test_row_sparse_optimizers_and_shared_negatives_need_less() -> None:
    dense = needs(config(), N, T, {})
    rows = needs(config(optimizer={"name": "row-adagrad"}), N, T, {})
    assert total(dense) - total(rows) >= 4 * N * E * 4 * 0.99
    assert rows.memory["gradients"] == 0
    own = needs(config(negatives={"name": "uniform", "count": 64}), N, T, {})
    assert own.memory["batch"] > 10 * dense.memory["batch"]


def test_a_loss_against_drawn_candidates_needs_less_than_against_all_entities() -> None:
    whole, some, more = (
        needs(config(loss={"name": "grouped-cross-entropy", "candidates": count}, negatives=None), N, T, {}).memory[
            "batch"
        ]
        for count in (None, 1000, 2 * N)
    )
    assert some < whole / 5
    assert more == whole


def test_a_loss_in_closed_form_scores_the_positives_alone() -> None:
    """NS-KGE's recipe, whose batch is the whole graph, on one as large as MKG-Y: megabytes, not triples × entities."""
    model = {"dimension": 200, "interaction": "distmult", "fusion": "structure"}
    found = needs(config(model=model, loss="non-sampling", negatives=None, batch_size=100_000), 15_000, 21_310, {})
    assert found.memory["batch"] == (6 * 15_000 + 4 * 21_310) * 200 * 4


def test_features_lie_on_disk() -> None:
    without, with_texts = needs(config(), N, T, {}), needs(config(), N, T, {"textual": 384})
    assert sum(with_texts.disk.values()) - sum(without.disk.values()) == 3 * N * 384 * 4
    assert total(with_texts) - total(without) == N * E * 4  # the projected ones, when all entities are ranked


@pytest.mark.parametrize(
    ("changes", "mend"),
    [
        ({}, "optimizer.name=row-adagrad"),
        ({"optimizer": {"name": "row-adagrad"}, "keep": "last"}, "dimension lower"),
        (
            {"loss": "grouped-cross-entropy", "negatives": None},
            "train.loss={name: grouped-cross-entropy, candidates: 2000}",
        ),
    ],
)
def test_too_much_memory_is_refused_with_the_remedy(
    changes: dict[str, Any], mend: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "free_memory", lambda: 2 * 10**9)
    with pytest.raises(UserError, match=r"needs about \d+\.\d GB .* of memory, and 2\.0 GB are free") as error:
        refuse_if_too_large(needs(config(**changes), N, T // 10, {}), tmp_path)
    assert mend in str(error.value)


def test_a_full_disk_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "free_memory", lambda: 10**12)
    monkeypatch.setattr(module, "free_disk", lambda folder: 10**9)
    with pytest.raises(UserError, match=r"of disk, and 1\.0 GB are free .* MMKGC_HOME"):
        refuse_if_too_large(needs(config(), N, T, {}), tmp_path / "not" / "there")


def test_free_space_is_asked_of_the_folder_that_exists(tmp_path: Path) -> None:
    assert module.free_disk(tmp_path / "not" / "there") > 0
    assert module.free_memory() > 0


def test_the_time_is_said_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    monkeypatch.setattr("mmkgc.components.train.forecast.time.monotonic", lambda: now[0])
    forecast = Forecast(batches=600, epochs=10)
    for _ in range(40):
        now[0] += 1.0
        forecast.note()
    said = capsys.readouterr().out.splitlines()
    assert said == ["train: about 10 min an epoch, at most 100 min for 10 epochs, measured on the first 11 batches"]
