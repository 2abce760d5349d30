"""The model card of a version: what it says, and that MLflow can store it."""

import pytest

from mmkgc.components.evaluate.config import EvaluateConfig
from mmkgc.components.evaluate.evaluate import assess
from mmkgc.components.register.card import LONGEST, card
from mmkgc.components.runtime import tracking


@pytest.fixture(scope="module")
def metrics(toy_mmkg, toy_bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation") / "folder"
    return assess(toy_mmkg, toy_bundle, EvaluateConfig(bootstrap=100, missing=()), folder, lambda digest: b"")


def test_a_card_names_data_protocol_slices_use_and_limits(metrics, toy_bundle):
    text = card(metrics, toy_bundle, {"source": "by hand", "licence": "CC0"})
    assert text.startswith("Test MRR 0.")
    for part in ("source: by hand; licence: CC0", "filtered, both directions", "**Intended use**", "**Limits**"):
        assert part in text
    assert "The test split is small (120 queries)" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    weakest = min(
        row["both"]["mrr"]
        for kind in ("answer modalities", "answer degree", "relation")
        for row in metrics["slices"][kind]
        if row["queries"] >= 20 and len(metrics["slices"][kind]) > 1
    )
    assert f"{weakest:.3f}" in rows[0]


def test_a_symmetric_relation_has_both_figures(metrics, toy_bundle):
    borders, other = metrics["slices"]["relation"][:2]
    worst = {"mrr": 0.01, "hits_at_1": 0.0, "hits_at_10": 0.1}
    better = worst | {"mrr": 0.4, "hits_at_1": 0.3}
    slices = {"relation": [borders | {"both": worst, "queries": 60}, other]}
    own = {"both": better, "relations": [borders | {"both": better, "queries": 60}]}
    lines = card(metrics | {"slices": slices, "without_self": own}, toy_bundle, {}).splitlines()
    place = lines.index(f"| relation: {borders['value']} | 60 | 0.010 | 0.000 | 0.100 |")
    assert lines[place + 1] == f"| relation: {borders['value']}, own entity left out | 60 | 0.400 | 0.300 | 0.100 |"


def test_a_card_fits_into_mlflow(metrics, toy_bundle):
    warned = metrics | {"dataset": metrics["dataset"] | {"warnings": ["|" * 5000] * 9}}
    assert len(card(warned, toy_bundle, {"source": "x" * 9000})) == LONGEST


def test_a_refused_version_says_so_first(submit, toy_mmkg, toy_bundle, train_toy):
    submit(toy_mmkg, toy_bundle)
    refused = submit(toy_mmkg, train_toy(toy_mmkg, epochs=2))
    assert not refused["promoted"]
    api = tracking.client()
    first, second = (api.get_model_version("toy", str(number)).description for number in (1, 2))
    assert first.startswith("**Promotion gate**: passed. MRR ")
    assert second.startswith("**Promotion gate**: refused. no sure gain over version 1")
    for text in (first, second):
        assert text.count("**Promotion gate**") == 1
        assert "Test MRR 0.5000, relation popularity 0.1000" in text
