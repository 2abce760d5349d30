"""Explanations against the engine's own answers, and against a model whose entities really lack the content."""

from dataclasses import replace

import pytest
import torch

from mmkgc.serving.api.protocol import QueryError
from mmkgc.serving.engine.engine import Engine
from mmkgc.serving.engine.why import Why


@pytest.fixture(scope="module")
def why(engine):
    return Why(engine)


@pytest.mark.parametrize(("head", "tail"), [("e1", None), (None, "e1")])
def test_the_first_answers_and_their_ranks_are_those_of_a_completion(engine, why, head, tail):
    query = {"head": head, "relation": "r1", "tail": tail}
    (answer,) = engine.answer([query | {"k": 5}])
    side = answer["direction"]
    found = why.explain(**query)
    assert found[side]["key"] == answer["predictions"][0]["key"]
    assert [item["key"] for item in found["first"]] == [p["key"] for p in answer["predictions"][:3]]
    for rank, prediction in enumerate(answer["predictions"], 1):
        if side == "head":  # a triple that is given whole is explained as the answer to its tail query
            break
        one = why.explain(head, "r1", prediction["key"])
        assert one["rank"] == rank
        assert one["score"] == pytest.approx(prediction["score"], abs=1e-5)
        assert one["probability"] == pytest.approx(prediction["probability"], abs=1e-5)
    assert found["rank"] == 1
    assert found["score"] == pytest.approx(answer["predictions"][0]["score"], abs=1e-5)


def test_a_known_triple_has_no_probability_with_or_without_its_contents(engine, why):
    bundle = engine.bundle
    head, relation, tail = bundle.train[0].tolist()
    found = why.explain(bundle.entities.keys[head], bundle.relations.keys[relation], bundle.entities.keys[tail])
    assert found["known"]
    assert {found["probability"], *(row["probability"] for row in found["without"])} == {None}


@pytest.mark.parametrize("fusion", ["adamf", "link-aware", "ikrl"])
@pytest.mark.parametrize("reciprocal", [True, False])
def test_without_a_modality_it_is_the_model_of_entities_that_lack_it(make_bundle, fusion, reciprocal):
    def made():
        return make_bundle(fusion={"name": fusion}, reciprocal=reciprocal)

    bundle, lacking = made(), made()
    why = Why(Engine(bundle))
    features = sorted(set(bundle.model.entities.modalities) - {"structure"})
    masks = {m: bundle.model.entities.raw(m).mask for m in features}
    triple = next(t for t in bundle.train if all(mask[t[[0, 2]]].all() for mask in masks.values()))
    keys = (bundle.entities.keys[triple[0]], bundle.relations.keys[triple[1]], bundle.entities.keys[triple[2]])
    explained = why.explain(*keys)
    alone = [[modality] for modality in features]
    assert [row["modalities"] for row in explained["without"]] == alone + ([features] if len(features) > 1 else [])
    for row in explained["without"]:
        kept = {m: lacking.model.entities.raw(m).mask.clone() for m in masks}
        for modality in row["modalities"]:
            lacking.model.entities.raw(modality).mask[triple[[0, 2]]] = False
        expected = Why(Engine(lacking)).explain(*keys)
        for modality, mask in kept.items():
            lacking.model.entities.raw(modality).mask.copy_(mask)
        assert row["score"] == pytest.approx(expected["score"], abs=1e-5)
        assert (row["rank"], row["first"]) == (expected["rank"], expected["first"])
        assert row["score"] != pytest.approx(explained["score"], abs=1e-6)


@pytest.mark.parametrize("encoder", ["relational-attention", "lafa"])
def test_graph_encoders_are_explained_too(make_bundle, encoder):
    explained = Why(Engine(make_bundle(encoder={"name": encoder}))).explain("e1", "r1", None)
    assert explained["rank"] == 1
    assert len(explained["without"]) >= 1


def test_rules_leave_out_the_triple_itself(make_bundle):
    bundle = make_bundle()
    pairs = [(head, head + 1) for head in range(0, 20, 2)]
    forth = [(head, 0, tail) for head, tail in pairs]
    back = [(tail, 1, head) for head, tail in pairs[:8]]
    bundle = replace(bundle, train=torch.tensor(forth + back))
    why = Why(Engine(bundle))
    (rule,) = why.explain("e0", "r0", "e1")["rules"]
    assert rule == {
        "facts": [
            {
                "head": {"key": "e1", "name": "Entity 1"},
                "relation": {"key": "r1", "name": "Relation 1"},
                "tail": {"key": "e0", "name": "Entity 0"},
            }
        ],
        "support": 7,
        "pairs": 7,
    }
    (rule,) = why.explain("e1", "r1", "e0")["rules"]
    assert (rule["support"], rule["pairs"]) == (7, 9)
    assert why.explain("e0", "r2", "e1")["rules"] == []


def test_a_model_of_structure_alone_has_nothing_to_leave_out(make_bundle):
    explained = Why(Engine(make_bundle(fusion={"name": "structure"}))).explain("e1", "r1", None)
    assert (explained["shares"], explained["without"]) == (None, [])


def test_what_cannot_be_explained_is_an_error_of_the_query(engine, why):
    with pytest.raises(QueryError, match="no entity 'nobody'"):
        why.explain("nobody", "r1", None)
    found = why.explain(engine.bundle.entities.keys[0], None, engine.bundle.entities.keys[1])
    assert found["direction"] == "relation"
    assert found["relation"]["key"] in engine.bundle.relations.keys
