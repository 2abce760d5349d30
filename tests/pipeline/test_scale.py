"""``mmkgc bench scale``: every stage of a small graph, slopes, and what was measured before."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mmkgc.pipeline import scale
from mmkgc.pipeline.cli.bench import bench
from mmkgc.pipeline.scale import METRICS, Size, draw, measure, metrics, slopes


def row(n: int) -> dict[str, Any]:
    """A row whose times are linear in N and whose training step does not depend on it."""
    return {
        "entities": n,
        "ingest": {"processor": 1e-3 * n},
        "train": {"processor": 0.5, "batches": n / 100, "peak": 7.0},
        "rank": {"processor": 1e-6 * n**2},
        "serve": {"p50": 1e-6 * n},
    }


def test_slopes_are_the_powers_of_n() -> None:
    found = slopes([row(n) for n in (1000, 3000, 50_000)])
    assert found == pytest.approx({"ingest": 1, "step": 0, "epoch": 1, "query": 2, "p50": 1, "peak": 0}, abs=1e-9)


def test_all_stages_of_a_small_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path / "home"))
    job = Size(1000, 10_000, steps=2), tmp_path / "1000"
    job[1].mkdir()
    stages = {"ingest": scale.ingest, "train": scale.train, "rank": scale.rank_sample, "serve": scale.serve}
    assert scale.generate(job)["processor"] > 0
    found: dict[str, Any] = {"entities": 1000} | {name: stage(job) for name, stage in stages.items()}
    assert set(metrics(found)) == set(METRICS)
    assert all(value > 0 for value in metrics(found).values())
    assert found["train"]["batches"] == 2
    assert found["train"]["estimated"] > 0
    draw([found], tmp_path / "scale.svg")
    assert (tmp_path / "scale.svg").stat().st_size > 1000


def test_a_size_that_was_measured_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def measured(size: Size, folder: Path) -> dict[str, Any]:
        asked.append(size.entities)
        return row(size.entities)

    monkeypatch.setattr(scale, "_measured", measured)
    sizes = [Size(n, 10 * n, 5) for n in (1000, 2000)]
    first = list(measure(sizes[:1], tmp_path / "scale.jsonl", tmp_path))
    both = list(measure(sizes, tmp_path / "scale.jsonl", tmp_path))
    assert asked == [1000, 2000]
    assert both[0] == first[0]


def test_scale_is_a_command_and_all_else_a_recipe() -> None:
    assert "--degree" in CliRunner().invoke(bench, ["scale", "--help"]).output
    assert "RECIPE" in CliRunner().invoke(bench, ["--help"]).output
    assert CliRunner().invoke(bench, ["scale", "--entities", "10"]).exit_code == 2
