import shlex
import sys
from pathlib import Path

import pytest

from mmkgc.pipeline.cli import verdict
from mmkgc.pipeline.cli.program import program


def metrics(low, high, queries=420):
    baseline = {"name": "relation popularity", "both": {"mrr": 0.2}}
    ours = {"realistic": {"both": {"mrr": (low + high) / 2}}}
    intervals = {"mrr": [low, high]}
    return {
        "intervals": intervals,
        "baseline": baseline,
        "metrics": ours,
        "queries": queries,
        "protocol": {"ties": "realistic"},
    }


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ((0.3, 0.5), "better than relation"),
        ((0.1, 0.3), "not distinguishable from"),
        ((0.05, 0.1), "worse than relation popularity: too short a training"),
    ],
)
def test_the_verdict_is_what_the_interval_says(interval, said):
    assert verdict.verdict(metrics(*interval), {}).startswith(f"verdict: {said}")
    assert "against 0.200, 420 queries)" in verdict.verdict(metrics(*interval), {})


def test_the_gates_paired_interval_decides_where_there_is_one():
    gate = {"champion": "relation popularity", "interval": [-0.1, 0.2]}
    assert verdict.verdict(metrics(0.3, 0.5), gate).startswith("verdict: not distinguishable from relation")
    assert verdict.verdict(metrics(0.3, 0.5), gate | {"champion": "version 1"}).startswith("verdict: better than")


def test_a_small_test_split_is_called_small():
    assert verdict.verdict(metrics(0.3, 0.5, queries=20), {}).endswith("20 queries, a small test split)")


@pytest.mark.parametrize("on_path", [True, False])
def test_the_next_commands_call_the_program_as_it_was_called(on_path, tmp_path, monkeypatch):
    path = tmp_path / "bin of" / "mmkgc"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(path), "run", "countries"])
    monkeypatch.setenv("PATH", str(path.parent) if on_path else "/nowhere")
    query = {"head": "New York", "relation": "located in"}
    lines = list(verdict.next_commands("a-model", "0a1b", Path("/x/report.html"), query))
    ask = next(line for line in lines if line.startswith("ask it")).removeprefix("ask it").strip()
    assert shlex.split(ask) == [
        "mmkgc" if on_path else str(path),
        "complete",
        "--name",
        "a-model",
        "New York",
        "located in",
    ]
    assert "report       /x/report.html" in lines
    assert "MLflow run   0a1b" in lines


def test_a_program_of_another_name_does_not_stand_in_the_commands(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["-c"])
    assert program() == "mmkgc"
