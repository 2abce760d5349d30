import json
from dataclasses import replace

import mlflow
import pandas as pd

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.runtime import model_registry as registry


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
