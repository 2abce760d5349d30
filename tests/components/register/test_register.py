import json
from dataclasses import replace

import mlflow
import pandas as pd

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.runtime import model_registry as registry
from mmkgc.components.runtime import tracking


def test_a_first_champion_beats_relation_popularity(submit, toy_mmkg, toy_bundle):
    record = submit(toy_mmkg, toy_bundle)
    assert record["promoted"], record["reason"]
    assert record["champion"] == "relation popularity"
    assert record["interval"][0] > 0
    champion = Bundle.load(registry.champion_bundle("toy"))
    assert champion.entities == toy_bundle.entities


def test_a_registered_version_answers_as_an_mlflow_model_and_says_where_it_is_from(submit, toy_mmkg, toy_bundle):
    submit(toy_mmkg, replace(toy_bundle, provenance={"made_from": {"features": {"textual": "5eed"}}}))
    model = mlflow.pyfunc.load_model("models:/toy@champion")
    head, relation, _ = toy_bundle.train[0].tolist()
    query = {"head": toy_bundle.entities.keys[head], "relation": toy_bundle.relations.keys[relation], "k": 4}
    (answer,) = model.predict(pd.DataFrame([query]))
    assert len(json.loads(answer)["predictions"]) == 4
    assert {"head", "relation", "tail", "k"} <= set(model.metadata.signature.inputs.input_names())
    version = registry.version("toy", 1)
    lineage = {"git_sha", "code_digest", "code_version", "graph_digest", "split_digest", "features_textual", "seed"}
    assert lineage | {"gate_reason"} <= set(version.tags)
    assert model.predict(model.input_example), "the example that is stored with the model can be asked"


def test_the_runs_link_the_model_and_the_model_its_version(submit, toy_mmkg, toy_bundle, monkeypatch):
    with tracking.start_run("toy", "a pipeline") as pipeline:
        monkeypatch.setenv("MLFLOW_RUN_ID", pipeline.id)
        submit(toy_mmkg, toy_bundle)
        submit(toy_mmkg, toy_bundle)  # the same bundle again: the same version
    api = tracking.client()
    model = registry.logged_model(api.get_model_version("toy", "1"))
    (step, *_) = api.search_runs([tracking.experiment_id("toy")], "tags.`mmkgc.step` = 'register'")
    for run in (api.get_run(pipeline.id), api.get_run(step.info.run_id)):
        assert [output.model_id for output in run.outputs.model_outputs] == [model]
    logged, tags = api.get_logged_model(model), api.get_logged_model(model).tags
    assert logged.source_run_id == pipeline.id, "by which the table of runs finds its models"
    assert json.loads(tags["mlflow.modelVersions"]) == [{"name": "toy", "version": "1"}]
