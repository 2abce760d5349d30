"""Every entity encoder: a subset is encoded as within the whole; batch edges are left out; models without structure."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.entity_encoders import ENTITY_ENCODERS
from mmkgc.components.kge.features import Features, TokenFeatures
from mmkgc.components.kge.graph import Graph
from mmkgc.components.kge.model import Model, ModelConfig

MakeModel = Callable[..., Model]
every_encoder = pytest.mark.parametrize("encoder", ENTITY_ENCODERS.classes())


@pytest.mark.parametrize(
    ("encoder", "structure"),
    [(n, s) for n, c in ENTITY_ENCODERS.classes().items() for s in (True, False) if not c.incompatibility(s)],
)
def test_a_subset_is_encoded_as_within_the_whole(encoder: str, structure: bool, make_model: MakeModel) -> None:
    model = make_model(encoder=encoder, structure=structure).eval()
    ids = torch.tensor([7, 2, 29])
    whole, part = model.entities.encode(), model.entities.encode(ids)
    assert len(model.entities) == 30
    assert part.shape == (3,)
    assert part.ids is not None
    assert part.ids.tolist() == [7, 2, 29]
    for modality in model.entities.modalities:
        torch.testing.assert_close(part[modality], whole[modality][ids])
        assert torch.equal(part.present[modality], whole.present[modality][ids])


@every_encoder
def test_raw_features_stay_reachable(encoder: str, make_model: MakeModel, features: dict[str, Features]) -> None:
    model = make_model(encoder=encoder)
    for modality, given in features.items():
        raw = model.entities.raw(modality)
        assert torch.equal(raw.vectors, given.vectors)
        assert torch.equal(raw.mask, given.mask)


@every_encoder
def test_a_saved_model_scores_alike(encoder: str, make_model: MakeModel, graph: Graph, tmp_path: Path) -> None:
    model = make_model(encoder=encoder).eval()
    Bundle.of(model, graph).save(tmp_path / "bundle")
    loaded = Bundle.load(tmp_path / "bundle").model
    torch.testing.assert_close(loaded.score_triples(graph.test), model.score_triples(graph.test))


def test_triples_of_the_batch_pass_no_message(make_model: MakeModel, graph: Graph) -> None:
    """An entity's embedding may not depend on the triple that the model is to predict."""
    model = make_model(encoder={"name": "relational-attention", "dropout": 0.0}).eval()
    triple = graph.train[:1]
    head, tail = triple[0, 0], triple[0, 2]
    everything, without = (model.entities.encode(without=left)["structure"] for left in (None, triple))
    changed = (everything - without).abs().amax(1) > 1e-6
    expected = torch.zeros(30, dtype=torch.bool)
    expected[torch.stack([head, tail])] = True
    assert torch.equal(changed, expected)


def test_attention_weighs_neighbours_as_by_hand(make_model: MakeModel, graph: Graph) -> None:
    model = make_model(encoder={"name": "relational-attention", "dropout": 0.0}).eval()
    encoder: Any = model.entities
    entity, e = 4, encoder.table.structure
    messages, logits = [], []
    for h, r, t in torch.unique(graph.train, dim=0).tolist():
        for source, relation, target in ((h, r, t), (t, r + 3, h)):
            if target == entity:
                messages.append(encoder.message(e[source] * encoder.relations[relation]))
                logits.append(e[entity] @ encoder.of_entity + messages[-1] @ encoder.of_message)
    weights = torch.nn.functional.leaky_relu(torch.stack(logits), 0.2).softmax(0)
    expected = e[entity] + (weights.unsqueeze(1) * torch.stack(messages)).sum(0)
    torch.testing.assert_close(model.entities.encode(torch.tensor([entity]))["structure"][0], expected)


def test_tokens_are_pooled_where_an_encoder_takes_vectors() -> None:
    tokens = TokenFeatures(torch.arange(12.0).view(2, 3, 2), torch.tensor([[True, True, False], [False] * 3]))
    model = Model(ModelConfig(dimension=4), 1, {"textual": tokens}, torch.ones(2, dtype=torch.bool))
    raw = model.entities.raw("textual")
    assert raw.vectors.tolist() == [[1.0, 2.0], [0.0, 0.0]]
    assert raw.mask.tolist() == [True, False]


def test_an_entity_that_was_not_encoded_is_no_other(make_model: MakeModel) -> None:
    encoded = make_model().encode([torch.tensor([3, 5])])
    assert encoded.index(torch.tensor([5, 3])).tolist() == [1, 0]
    with pytest.raises(IndexError, match=r"entities \[4\] were not encoded"):
        encoded.index(torch.tensor([3, 4]))


def test_a_model_without_structure_knows_entities_by_their_features(make_model: MakeModel, graph: Graph) -> None:
    model = make_model(structure=False, fusion="mean").eval()
    assert model.entities.modalities == ("textual", "visual")
    assert not any("structure" in name for name, _ in model.named_parameters())
    heads, relations, tails = graph.test[:5].unbind(1)
    scores = model.score_tails(heads, relations)[torch.arange(5), tails]
    torch.testing.assert_close(scores, model.score_triples(graph.test[:5]))


@pytest.mark.parametrize(
    ("settings", "negatives", "reason"),
    [
        ({"structure": False, "modalities": []}, "uniform", "needs features of at least one modality"),
        ({"structure": False, "fusion": "ikrl"}, "uniform", "structural vectors"),
        ({"structure": False, "encoder": "relational-attention"}, "uniform", "set model.structure: true"),
        ({"structure": False}, "mat", "set model.structure: true"),
        ({"structure": False}, "mans-v", "set model.structure: true"),
        ({"interaction": "conve"}, "uniform", "set model.reciprocal: true"),
    ],
)
def test_parts_that_need_structure_say_so(settings: dict[str, Any], negatives: str, reason: str) -> None:
    from mmkgc.components.train.config import TrainConfig

    with pytest.raises(ValueError, match=reason):
        TrainConfig(model=settings, negatives=negatives)
