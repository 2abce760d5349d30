"""The engine of the Python API gives what serving and the model library give, as tables."""

import pandas as pd
import pytest
import torch

import mmkgc
from mmkgc.components.kge.evaluation.metrics import QueryRanks, metrics_by_side
from mmkgc.components.kge.evaluation.ranks import rank
from mmkgc.components.kge.graph import KnownTriples
from mmkgc.components.runtime.errors import UserError
from tests.serving.conftest import bundle_of_texts, make_graph, random_bundle


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle") / "bundle"
    random_bundle().save(folder)
    return folder


@pytest.fixture(scope="module")
def engine(folder):
    return mmkgc.load(folder)


def labels(triple):
    head, relation, tail = triple.tolist()
    return f"e{head}", f"r{relation}", f"e{tail}"


@pytest.mark.parametrize("asked", ["head", "relation", "tail"])
def test_a_completion_is_the_served_answer_as_a_table(engine, asked):
    parts = dict(zip(("head", "relation", "tail"), labels(engine.bundle.train[3]), strict=True)) | {asked: None}
    found = engine.complete(**parts, k=4, exclude_known=False)
    (answer,) = engine.answer([parts | {"k": 4, "exclude_known": False}])
    assert found.index.tolist() == [1, 2, 3, 4]
    assert found.astype(object).where(found.notna(), None).to_dict("records") == answer["predictions"]


def test_a_completion_may_be_restricted(engine):
    found = engine.complete("e1", "r1", candidates=["Entity 3", "Entity 5", "Entity 4"], type="town", k=9)
    assert set(found["name"]) <= {"Entity 3", "Entity 5"}


def test_an_entity_that_the_graph_does_not_hold_is_described(tmp_path):
    bundle_of_texts().save(tmp_path / "bundle")
    engine = mmkgc.load(tmp_path / "bundle")
    assert len(engine.complete({"text": "Entity 40, a town."}, "r1", k=3)) == 3
    with pytest.raises(UserError, match=r"absent\.png: this image cannot be read"):
        engine.complete({"image": tmp_path / "absent.png"}, "r1")


def test_a_score_is_the_models(engine):
    triple = engine.bundle.train[:1]
    expected = engine.bundle.model.score_triples(triple).item()
    assert engine.score(*labels(triple[0])) == pytest.approx(expected, abs=1e-5)


def test_an_explanation_weighs_modalities_and_names_similar_triples(engine):
    explanation = engine.explain(*labels(engine.bundle.train[0]))
    assert explanation.known
    assert sum(explanation.modality_weights.values()) == pytest.approx(1, abs=1e-4)
    assert explanation.similar.columns.tolist() == ["head", "relation", "tail"]
    assert len(explanation.similar) == 3


@pytest.mark.parametrize("view", [None, "structure", "visual", "textual", "joint"])
def test_embeddings_are_the_vectors_of_a_view(engine, view):
    table = engine.embeddings(view)
    vectors = engine.bundle.model.everyone().views[view or "joint"]
    assert table.index.tolist() == list(engine.bundle.entities.keys)
    assert torch.equal(torch.from_numpy(table.to_numpy(copy=True)), vectors.detach())


def test_an_evaluation_is_filtered_by_the_graph_and_its_own_triples(engine):
    graph = make_graph()
    generator = torch.Generator().manual_seed(5)
    new = torch.stack([torch.randint(high, (12,), generator=generator) for high in (40, 5, 40)], dim=1)
    known = KnownTriples(torch.cat([graph.all_triples, new]), 40, 5)
    expected = metrics_by_side(QueryRanks.of(rank(random_bundle().model, new, known)), (1, 3, 10), "realistic")
    found = engine.evaluate([labels(triple) for triple in new])
    assert found.loc["model"].to_dict("index") == expected
    assert found.loc["relation popularity"].index.tolist() == ["both", "head", "tail"]


def test_an_evaluation_leaves_the_engine_as_it_was_and_takes_tables(engine, folder):
    triples = [labels(triple) for triple in engine.bundle.train[:5]]
    before, frozen = engine.complete("e1", "r1"), engine.bundle.model.everyone()
    table = pd.DataFrame(triples, columns=["head", "relation", "tail"])[["tail", "head", "relation"]]
    pd.testing.assert_frame_equal(engine.evaluate(table), mmkgc.evaluate(folder, triples))
    assert engine.bundle.model.everyone() is frozen
    pd.testing.assert_frame_equal(engine.complete("e1", "r1"), before)


REFUSED = {
    "unknown entity": (lambda engine: engine.complete("Entitty 3", "r1"), "no entity 'Entitty 3' — did you mean: "),
    "ambiguous": (lambda engine: engine.score("Twin", "r1", "e1"), "ambiguous"),
    "nothing asked": (lambda engine: engine.complete("e1", "r1", "e2"), "leave out one of head, relation and tail"),
    "view": (lambda engine: engine.embeddings("strcture"), "did you mean 'structure'?"),
    "label of a triple": (lambda engine: engine.evaluate([("e1", "r1", "e2"), ("e1", "r9", "e2")]), "triple 2: there"),
    "shape of a triple": (lambda engine: engine.evaluate([("e1", "r1")]), "triple 1: "),
    "no triples": (lambda engine: engine.evaluate([]), "there are no triples"),
    "no bundle": (lambda engine: mmkgc.load("/nowhere"), "/nowhere: this folder is no model bundle"),
    "registry": (lambda engine: mmkgc.load("models:/countries"), "write models:/NAME@ALIAS or models:/NAME/VERSION"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_is_said_in_one_sentence(engine, case):
    call, expected = REFUSED[case]
    with pytest.raises(UserError) as refusal:
        call(engine)
    assert expected in str(refusal.value)
    assert "\n" not in str(refusal.value)
