"""Every entity encoder: a subset is encoded as within the whole, edges of the batch are left out, nothing is lost."""

from collections.abc import Callable
from functools import partial
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
INTERACTION = {"graph-context": "ote"}  # what an encoder works with, if not with all
every_encoder = pytest.mark.parametrize("encoder", ENTITY_ENCODERS.classes())


@pytest.mark.parametrize(
    ("encoder", "structure"),
    [(n, s) for n, c in ENTITY_ENCODERS.classes().items() for s in (True, False) if not c.incompatibility(s)],
)
def test_a_subset_is_encoded_as_within_the_whole(encoder: str, structure: bool, make_model: MakeModel) -> None:
    model = make_model(encoder=encoder, structure=structure, interaction=INTERACTION.get(encoder, "rotate")).eval()
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
    model = make_model(encoder=encoder, interaction=INTERACTION.get(encoder, "rotate"))
    for modality, given in features.items():
        raw = model.entities.raw(modality)
        assert torch.equal(raw.vectors, given.vectors)
        assert torch.equal(raw.mask, given.mask)


@every_encoder
def test_a_saved_model_scores_alike(encoder: str, make_model: MakeModel, graph: Graph, tmp_path: Path) -> None:
    model = make_model(encoder=encoder, interaction=INTERACTION.get(encoder, "rotate")).eval()
    Bundle.of(model, graph).save(tmp_path / "bundle")
    loaded = Bundle.load(tmp_path / "bundle").model
    torch.testing.assert_close(loaded.score_triples(graph.test), model.score_triples(graph.test))


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


def test_lafa_weighs_neighbours_by_their_links_as_by_hand(make_model: MakeModel, graph: Graph) -> None:
    model = make_model(encoder={"name": "lafa", "dropout": 0.0}, missing="zeros").eval()
    encoder: Any = model.entities
    own = encoder.table.encode()
    found = encoder.encode(torch.tensor([4]))
    for modality in ("structure", "visual", "textual"):
        e, neighbours, logits = own[modality], [], []
        for h, r, t in torch.unique(graph.train, dim=0).tolist():
            for source, relation, target in ((h, r, t), (t, r + 3, h)):
                if target == 4 and own.present[modality][source]:
                    neighbours.append(e[source])
                    query = e[4] * encoder.links[modality][relation]
                    logits.append(
                        sum(q * x for q, x in zip(query.tolist(), e[source].tolist(), strict=True)) / len(query) ** 0.5
                    )
        weights = torch.tensor(logits).softmax(0)
        gathered = (weights.unsqueeze(1) * torch.stack(neighbours)).sum(0)
        torch.testing.assert_close(found[modality][0], e[4] + encoder.messages[modality].weight @ gathered)


@every_encoder
def test_triples_of_the_batch_pass_no_message(encoder: str, make_model: MakeModel, graph: Graph) -> None:
    """An entity's embedding may not depend on the triple that the model is to predict.

    The reference is the same encoder on a graph without the triple.
    """
    make = partial(make_model, encoder=encoder, interaction=INTERACTION.get(encoder, "rotate"))
    triple, rest = graph.train[:1], graph.train[(graph.train != graph.train[0]).any(1)]
    model, other = make().eval(), make(triples=rest).eval()
    other.load_state_dict(model.state_dict())
    without, expected = model.entities.encode(without=triple).vectors, other.entities.encode().vectors
    for name in expected:
        torch.testing.assert_close(without[name], expected[name], msg=f"the triple's message is in '{name}'")


@every_encoder
def test_a_saved_model_holds_no_triples(encoder: str, make_model: MakeModel) -> None:
    model = make_model(encoder=encoder, interaction=INTERACTION.get(encoder, "rotate"))
    whole_numbers = [name for name, tensor in model.state_dict().items() if tensor.dtype == torch.long]
    assert not whole_numbers, "register them with persistent=False: the graph is saved elsewhere"


def test_the_context_of_an_entity_is_where_its_triples_say_it_lies(make_model: MakeModel, graph: Graph) -> None:
    model = make_model(fusion="gc-ote").eval()
    interaction: Any = model.interaction
    e, relations = model.entities.structural_table(), model.relations["relation"]
    found, tail, head = model.entities.encode(torch.tensor([4, 29])), [e[4]], [e[4]]
    for h, r, t in torch.unique(graph.train, dim=0).tolist():
        if t == 4:
            tail.append(interaction.forth(e[h], relations[r]))
        if h == 4:
            head.append(interaction.back(e[t], relations[r]))
    torch.testing.assert_close(found["tail_context"][0], torch.stack(tail).mean(0))
    torch.testing.assert_close(found["head_context"][0], torch.stack(head).mean(0))
    assert len(tail) > 2
    assert torch.equal(found["tail_context"][1], e[29])  # in no train triple


def test_gc_ote_trains_ote_first_and_only_then_can_be_selected(make_model: MakeModel) -> None:
    model = make_model(fusion={"name": "gc-ote", "pretrain": 0.5}, interaction="ote", encoder="graph-context")
    stages = []
    for epoch in range(5):
        model.fusion.begin_epoch(epoch, 5, model.entities)
        stages.append((len(model.fusion.terms), model.fusion.selectable(epoch, 5)))
    assert stages == [(1, False)] * 2 + [(3, True)] * 3
    model.fusion.begin_epoch(0, 1, model.entities)
    assert len(model.fusion.terms) == 3  # one epoch alone is of the second stage


def test_gc_ote_is_the_mean_of_four_distances(make_model: MakeModel, graph: Graph) -> None:
    model = make_model(fusion="gc-ote").eval()
    interaction: Any = model.interaction
    modal, relation = model.entities.encode(), model.relations["relation"]
    for (h, r, t), score in zip(graph.test[:6].tolist(), model.score_triples(graph.test[:6]), strict=True):
        e = modal["structure"]
        forth, back = interaction.forth(e[h], relation[r]), interaction.back(e[t], relation[r])
        pairs = [(back, e[h]), (back, modal["head_context"][h]), (forth, e[t]), (forth, modal["tail_context"][t])]
        distances = [sum((a - b) ** 2 for a, b in zip(x.tolist(), y.tolist(), strict=True)) ** 0.5 for x, y in pairs]
        assert score.item() == pytest.approx(-sum(distances) / 4, rel=1e-4)


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
        ({"encoder": "graph-context"}, "uniform", "made by interaction 'ote'"),
        (
            {"encoder": "graph-context", "interaction": "ote", "structure": False},
            "uniform",
            "set model.structure: true",
        ),
        ({"fusion": "gc-ote", "interaction": "ote"}, "uniform", "set model.encoder: graph-context"),
        ({"fusion": "gc-ote", "encoder": "graph-context"}, "uniform", "set model.interaction: ote"),
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
