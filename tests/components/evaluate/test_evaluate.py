import json
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from components.evaluate.config import EvaluateConfig
from components.evaluate.evaluate import evaluate
from components.kge.graph import Vocabulary
from components.runtime import tracking
from components.runtime.errors import UserError
from feature_store.storage import open_storage


@pytest.fixture
def published(mmkgc_home, toy_mmkg, toy_bundle, tmp_path):
    storage = open_storage()
    toy_mmkg.save(tmp_path / "graph")
    toy_bundle.save(tmp_path / "bundle")
    graph, bundle = storage.publish(tmp_path / "graph", "graphs"), storage.publish(tmp_path / "bundle", "bundles")
    return graph.uri, bundle.uri, storage


def test_an_evaluation_is_published_and_tracked(published):
    graph_uri, bundle_uri, storage = published
    stored = evaluate(graph_uri, bundle_uri, EvaluateConfig(bootstrap=100), storage)
    folder = storage.fetch(stored.uri)
    results = json.loads((folder / "metrics.json").read_text())
    both = results["metrics"]["realistic"]["both"]
    assert both["mrr"] > 2 * results["baseline"]["both"]["mrr"]
    assert results["intervals"]["mrr"][0] < both["mrr"] < results["intervals"]["mrr"][1]
    assert results["queries"] == pq.read_table(folder / "ranks.parquet").num_rows == 120
    answers = json.loads((folder / "completions.json").read_text())
    assert len(answers) == 3
    assert sum(answer["gold"] for answer in answers[0]["answers"]) <= 1
    for report in ("report.md", "report.html"):
        text = (folder / report).read_text()
        assert "relation popularity" in text
        assert "a toy graph" in text
        assert "random weights" in text
    api = tracking.client()
    (run,) = api.search_runs([tracking.experiment_id("mmkgc")])
    assert run.data.metrics["test/mrr"] == pytest.approx(both["mrr"])
    assert "report.html" in [file.path for file in api.list_artifacts(run.info.run_id)]


def test_the_same_model_gives_the_same_artifact(published):
    graph_uri, bundle_uri, storage = published
    config = EvaluateConfig(bootstrap=100)
    assert evaluate(graph_uri, bundle_uri, config, storage) == evaluate(graph_uri, bundle_uri, config, storage)


@pytest.mark.parametrize(("keep", "said"), [("last", "; the last epoch"), ("best", "the papers have the last one")])
def test_numbers_of_the_openke_protocol_are_labelled(published, toy_bundle, tmp_path, keep, said):
    graph_uri, _, storage = published
    replace(toy_bundle, config=toy_bundle.config | {"keep": keep}).save(tmp_path / "kept")
    bundle_uri = storage.publish(tmp_path / "kept", "bundles").uri
    stored = evaluate(graph_uri, bundle_uri, EvaluateConfig(protocol="openke", bootstrap=100), storage)
    folder = storage.fetch(stored.uri)
    (run,) = tracking.client().search_runs([tracking.experiment_id("mmkgc")])
    for text in ((folder / "report.md").read_text(), run.data.tags["protocol"]):
        assert "OpenKE protocol" in text
        assert said in text
    assert "openke/mrr" in run.data.metrics
    assert "test/mrr" not in run.data.metrics


def test_a_model_of_another_vocabulary_is_refused(published, toy_mmkg, tmp_path):
    _, bundle_uri, storage = published
    entities = toy_mmkg.graph.entities
    renamed = Vocabulary(("other", *entities.keys[1:]), entities.names)
    replace(toy_mmkg, graph=replace(toy_mmkg.graph, entities=renamed)).save(tmp_path / "other")
    other = storage.publish(tmp_path / "other", "graphs")
    with pytest.raises(UserError, match="trained on other entities"):
        evaluate(other.uri, bundle_uri, EvaluateConfig(), storage)
