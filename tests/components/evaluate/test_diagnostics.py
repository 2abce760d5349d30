import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from mmkgc.components.evaluate.diagnostics import STAND_IN, embedding_points, missing_curve, relation_shares
from mmkgc.components.evaluate.slices import entity_masks
from mmkgc.components.kge.evaluation.ranks import mrr, rank
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL, KnownTriples


def test_weights_of_stand_ins_are_no_weights_of_the_modality(toy_mmkg, toy_bundle):
    model, graph, masks = toy_bundle.model.freeze(), toy_mmkg.graph, entity_masks(toy_mmkg, toy_bundle.model)
    shares = relation_shares(model, graph.test, graph, masks)
    assert set(shares) == {graph.relations.names[r] for r in graph.test[:, RELATION].tolist()}
    weights = model.fusion.modality_weights(model.entities.encode())["textual"].tolist()
    for relation, found in shares.items():
        assert set(found) == {"structure", "textual", STAND_IN}
        assert sum(found.values()) == pytest.approx(1)
        ends = [
            entity
            for row in graph.test.tolist()
            for entity in (row[HEAD], row[TAIL])
            if graph.relations.names[row[RELATION]] == relation
        ]
        expected = [weights[e] if toy_mmkg.content("textual")[e] else 0.0 for e in ends]
        assert found["textual"] == pytest.approx(np.mean(expected), abs=1e-5)


def test_a_fusion_without_weights_has_no_figure_of_them(toy_mmkg, train_toy):
    model = train_toy(toy_mmkg, epochs=1, fusion="structure").model
    assert relation_shares(model, toy_mmkg.graph.test, toy_mmkg.graph, {}) == {}
    assert missing_curve(model, toy_mmkg.graph, (0.0, 1.0), seed=0) == []


def test_the_map_is_principal_component_analysis_of_those_who_have_the_modality(toy_mmkg, toy_bundle):
    model, masks = toy_bundle.model.freeze(), entity_masks(toy_mmkg, toy_bundle.model)
    entities = torch.arange(20, 50)
    points = embedding_points(model, masks, entities)
    has = masks["textual"][entities].numpy()
    assert np.isnan(points["textual"][~has]).all()
    vectors = model.entities.encode(entities).vectors["textual"].detach().double().numpy()[has]
    expected = PCA(2, svd_solver="full").fit_transform(vectors)
    np.testing.assert_allclose(np.abs(points["textual"][has]), np.abs(expected), atol=1e-6)


def test_hiding_modalities_costs_and_leaves_the_model_as_it_was(toy_mmkg, toy_bundle):
    model, graph = toy_bundle.model, toy_mmkg.graph
    known = KnownTriples(graph.selection_triples, len(graph.entities), len(graph.relations))
    before = mrr(rank(model, graph.valid, known))
    (_, whole), (_, half), (_, rest) = missing_curve(model, graph, (0.0, 0.5, 1.0), seed=1)
    assert whole == pytest.approx(before)
    assert whole > half > rest
    assert mrr(rank(model, graph.valid, known)) == before
