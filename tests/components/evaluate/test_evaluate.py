import json
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
import torch
from sklearn.metrics import accuracy_score

from mmkgc.components.evaluate.completions import completions, judgeable
from mmkgc.components.evaluate.config import EvaluateConfig
from mmkgc.components.evaluate.evaluate import evaluate
from mmkgc.components.kge.graph import Vocabulary
from mmkgc.components.runtime import tracking
from mmkgc.components.runtime.errors import UserError
from mmkgc.feature_store.opening import open_storage


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
    assert len(answers) == 5
    assert 0 < results["nearest"]["both"]["mrr"] < both["mrr"]
    for report in ("report.md", "report.html"):
        text = (folder / report).read_text()
        assert "relation popularity" in text
        assert "nearest text" in text
        assert "a toy graph" in text
        assert "random weights" in text
    api = tracking.client()
    (run,) = api.search_runs([tracking.experiment_id("mmkgc")])
    assert run.data.metrics["test/mrr"] == pytest.approx(both["mrr"])
    assert "report.html" in [file.path for file in api.list_artifacts(run.info.run_id)]


def test_the_saved_negatives_can_be_judged_again(published):
    graph_uri, bundle_uri, storage = published
    folder = storage.fetch(evaluate(graph_uri, bundle_uri, EvaluateConfig(bootstrap=100), storage).uri)
    saved = pq.read_table(folder / "classification.parquet").to_pandas()
    assert saved.groupby("protocol")["label"].agg(["size", "sum"]).values.tolist() == [[120, 60], [120, 60]]
    saved = saved[saved["protocol"] == "mans"]
    accuracies = [accuracy_score(saved["label"], saved["score"] >= score) for score in saved["score"]]
    reported = json.loads((folder / "metrics.json").read_text())["classification"]
    assert reported["mans"]["accuracy"] == pytest.approx(max(accuracies))
    assert reported["standard"]["accuracy"] <= reported["mans"]["accuracy"] + 0.1


def test_completions_are_the_best_of_what_serving_would_offer(toy_mmkg, toy_bundle):
    model, graph = toy_bundle.model.freeze(), toy_mmkg.graph
    facts = {tuple(row) for row in torch.cat([graph.train, graph.valid]).tolist()}
    loops = {relation for head, relation, tail in facts if head == tail}
    maps = {name: {"slope": 2.0, "margin": 3.0, "intercepts": [0.5] * 8} for name in ("answer", "triple")}
    bundle = replace(toy_bundle, calibration={"method": "platt", **maps})
    for row, answer in zip(judgeable(graph)[:5].tolist(), completions(bundle, graph, 5, 4), strict=True):
        head, relation, tail = row
        scores = model.score_tails(torch.tensor([head]), torch.tensor([relation]))[0].tolist()
        own = set() if relation in loops else {head}
        known = {e for e in range(60) if (head, relation, e) in facts} - {tail}
        candidates = [e for e in range(60) if e == tail or e not in known | own]
        best = sorted(candidates, key=lambda entity: -scores[entity])
        assert [found["label"] for found in answer["answers"]] == [graph.entities.names[e] for e in best[:4]]
        assert [found["gold"] for found in answer["answers"]] == [e == tail for e in best[:4]]
        assert (answer["gold"], answer["gold_key"]) == (graph.entities.names[tail], graph.entities.keys[tail])
        assert answer["rank"] == best.index(tail) + 1
        assert answer["known"] == len(known)
        for entity, found in zip(best, answer["answers"], strict=False):
            margin = scores[entity] - scores[best[1] if entity == best[0] else best[0]]
            logit = torch.tensor(2.0 * scores[entity] + 3.0 * margin + 0.5)
            assert found["probability"] == pytest.approx(torch.sigmoid(logit).item(), abs=1e-5)
            assert entity != tail or answer["probability"] == found["probability"]
    assert {answer["probability"] for answer in completions(toy_bundle, graph, 5, 4)} == {None}


def test_completions_take_relations_in_turn_and_entities_with_many_facts_first(toy_mmkg):
    graph = toy_mmkg.graph
    chosen = judgeable(graph)
    assert sorted(chosen.tolist()) == sorted(graph.test.tolist())
    used = graph.test[:, 1].unique()
    assert sorted(chosen[: len(used), 1].tolist()) == used.tolist()
    degrees = torch.bincount(graph.train[:, [0, 2]].flatten(), minlength=len(graph.entities))
    for relation in used:
        least = degrees[chosen[chosen[:, 1] == relation][:, [0, 2]]].amin(1)
        assert (least.diff() <= 0).all()


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
