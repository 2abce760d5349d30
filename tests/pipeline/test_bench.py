"""`mmkgc bench`: rows are measured once, state what they depend on, and never show test before it is asked for."""

import json

import pytest
from click.testing import CliRunner

from mmkgc.components.runtime.errors import UserError
from mmkgc.pipeline.bench import read_rows
from mmkgc.pipeline.cli import mmkgc

QUICK = {
    "extract": {"visual": None, "textual": None, "numeric": None},
    "train": {
        "model": {"dimension": 4, "interaction": "complex", "fusion": "structure"},
        "loss": "cross-entropy",
        "negatives": None,
        "epochs": 2,
        "evaluate_every": 1,
    },
}


@pytest.fixture
def bench(write_dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path / "home"))
    folder = write_dataset(tmp_path / "small")
    recipe = tmp_path / "quick.yaml"
    recipe.write_text(json.dumps({"dataset": str(folder)} | QUICK))

    def run(*options):
        done = CliRunner().invoke(
            mmkgc, ["bench", str(recipe), "--rows", str(tmp_path / "rows"), *options], catch_exceptions=False
        )
        return done.output, read_rows(tmp_path / "rows" / "quick.jsonl")

    return run


def test_each_seed_gives_a_row_and_is_measured_once(bench):
    output, rows = bench("--seeds", "2")
    assert [row["seed"] for row in rows] == [0, 1]
    assert "2 seeds: dev MRR" in output
    for row in rows:
        assert {"graph", "recipe", "code"} <= row["digests"].keys()
        assert row["test"].keys() == {"head", "tail", "both"}
        assert row["openke"]["mrr"] >= row["test"]["both"]["mrr"]
        assert row["epochs"]["best"] <= row["epochs"]["run"] == 2
    assert bench("--seeds", "2")[1] == rows
    third = bench("--seeds", "3")[1]
    assert third[:2] == rows
    assert third[2]["seed"] == 2


def test_a_comparison_on_development_data_does_not_rank_test(bench):
    output, (row,) = bench("--seeds", "1", "--development")
    assert "test" not in row
    assert "openke" not in row
    assert "test MRR" not in output
    assert len(bench("--seeds", "1")[1]) == 2


def test_an_ensemble_of_the_seeds_is_a_row_of_its_own_and_is_ranked_once(bench):
    output, rows = bench("--seeds", "2", "--ensemble")
    assert [row["seed"] for row in rows] == [0, 1, [0, 1]]
    assert "ensemble of 2" in output
    assert rows[2]["bundle"] == [row["bundle"] for row in rows[:2]]
    assert rows[2]["parameters"] == 2 * rows[0]["parameters"]
    assert rows[2]["dev"]["mrr"] > 0
    assert bench("--seeds", "2", "--ensemble")[1] == rows


def test_rules_are_ranked_with_the_models(bench):
    output, (alone, together) = bench("--seeds", "1", "--rules")
    assert "rules" not in alone
    assert together["rules"] == {"weight": together["rules"]["weight"], "chosen": "development split"}
    assert f"seed 0 with rules × {together['rules']['weight']:g}: dev MRR" in output
    assert together["test"] != alone["test"]


def test_beside_models_trained_on_the_development_split_the_weight_of_the_rules_is_given(bench):
    refitted = "--seeds", "1", "--rules", "--set", "train.refit=true"
    with pytest.raises(UserError, match="then give --rule-weight what it chose"):
        bench(*refitted)
    output, rows = bench(*refitted, "--rule-weight", "0.3")
    assert rows[1]["rules"] == {"weight": 0.3, "chosen": "given"}
    assert "seed 0 with rules × 0.3: dev MRR –; test MRR" in output


def test_a_refitted_row_says_so(bench):
    _, (row,) = bench("--seeds", "1", "--set", "train.refit=true")
    assert row["refit"]
    assert row["dev"]["mrr"] > 0


def test_seeds_may_be_refitted_at_once_by_the_epochs_that_an_earlier_training_chose(bench):
    output, rows = bench("--seeds", "2", "--set", "train.refit=1")
    assert [(row["refit"], row["epochs"]["best"], row["dev"]["mrr"]) for row in rows] == 2 * [(1, 1, None)]
    assert "2 seeds: test MRR" in output


def test_two_recipes_are_measured_and_ranked_together(bench, tmp_path):
    other = json.loads((tmp_path / "quick.yaml").read_text())
    other["train"] = {**other["train"], "model": {**other["train"]["model"], "interaction": "distmult"}}
    (tmp_path / "other.yaml").write_text(json.dumps(other))
    output, rows = bench(str(tmp_path / "other.yaml"), "--seeds", "2", "--ensemble")
    (together,) = read_rows(tmp_path / "rows" / "quick+other.jsonl")
    share = together["shares"]["of"][1]
    assert together["shares"] == {"of": [1 - share, share], "chosen": "development split"}
    assert f"quick + other, ensemble of 4, shares {1 - share:g} + {share:g}: dev MRR" in output
    assert together["seed"] == [0, 1, 0, 1]
    assert together["bundle"] == [row["bundle"] for row in [*rows, *read_rows(tmp_path / "rows" / "other.jsonl")]]
    assert [recipe["train"]["model"]["interaction"]["name"] for recipe in together["recipe"]] == ["complex", "distmult"]
    assert len(together["epochs"]) == 2


def test_refitted_models_of_two_recipes_are_ranked_together_by_given_shares(bench, tmp_path):
    (tmp_path / "other.yaml").write_text((tmp_path / "quick.yaml").read_text())
    other = str(tmp_path / "other.yaml")
    refitted = other, "--seeds", "1", "--ensemble", "--set", "train.refit=2", "--set", f"{other}:train.refit=1"
    with pytest.raises(UserError, match="--shares: models that were trained on the development triples, too"):
        bench(*refitted)
    with pytest.raises(UserError, match="--shares: 2 given for 1 further recipe — give one for each"):
        bench(*refitted, "--shares", "0.3,0.1")
    bench(*refitted, "--shares", "0.3")
    (together,) = read_rows(tmp_path / "rows" / "quick+other.jsonl")
    assert together["shares"] == {"of": [0.7, 0.3], "chosen": "given"}
    assert [epochs["run"] for epochs in together["epochs"]] == [2, 1]


def test_models_of_different_graphs_are_refused_before_any_is_trained(bench, write_dataset, tmp_path):
    other = json.loads((tmp_path / "quick.yaml").read_text())
    other["dataset"] = str(write_dataset(tmp_path / "another"))
    (tmp_path / "other.yaml").write_text(json.dumps(other))
    with pytest.raises(UserError, match="quick, other: dataset differs, so their models cannot be ranked together"):
        bench(str(tmp_path / "other.yaml"), "--ensemble")
    assert not (tmp_path / "rows").exists()
