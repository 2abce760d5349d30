"""Entities with what they lack, fusions by hand, and the model's ways to ask."""

from collections.abc import Callable

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from mmkgc.components.kge.entity_encoders.base import ModalityEmbeddings
from mmkgc.components.kge.features import Features
from mmkgc.components.kge.fusions import FUSIONS
from mmkgc.components.kge.graph import Graph
from mmkgc.components.kge.interactions.base import Side
from mmkgc.components.kge.model import Model

MakeModel = Callable[..., Model]


@pytest.mark.parametrize("reciprocal", [False, True])
@pytest.mark.parametrize("fusion", FUSIONS.classes())
@pytest.mark.parametrize("interaction", ["transe", "complex", "pairre"])
def test_heads_and_tails_may_be_asked_together(
    fusion: str, interaction: str, reciprocal: bool, make_model: MakeModel, graph: Graph
) -> None:
    model = make_model(interaction=interaction, fusion=fusion, reciprocal=reciprocal).eval()
    heads, relations, tails = graph.test[:5].unbind(1)
    modal = model.entities.encode
    asked: list[tuple[ModalityEmbeddings, Tensor, Side]] = [
        (modal(heads), relations, "tail"),
        (modal(tails[:2]), relations[:2], "head"),
        (modal(heads[:1]), relations[:1], "tail"),
    ]
    of_tails, of_heads, of_one = model.score_queries(asked)
    torch.testing.assert_close(of_tails, model.score_tails(heads, relations))
    torch.testing.assert_close(of_heads, model.score_heads(relations[:2], tails[:2]))
    torch.testing.assert_close(of_one, of_tails[:1])


@pytest.mark.parametrize("fusion", FUSIONS.classes())
@pytest.mark.parametrize("interaction", ["transe", "complex", "pairre"])
def test_all_ways_to_ask_agree(fusion: str, interaction: str, make_model: MakeModel, graph: Graph) -> None:
    model = make_model(interaction=interaction, fusion=fusion).eval()
    heads, relations, tails = graph.test[:5].unbind(1)
    by_triples = model.score_triples(graph.test[:5])
    rows = torch.arange(5)
    for scores, answers in ((model.score_tails(heads, relations), tails), (model.score_heads(relations, tails), heads)):
        assert scores.shape == (5, len(graph.entities))
        torch.testing.assert_close(scores[rows, answers], by_triples)
    modal = model.entities.encode
    torch.testing.assert_close(model.score_modal(modal(heads), relations, modal(tails)), by_triples)
    torch.testing.assert_close(
        model.score_queries([(modal(heads), relations, "tail")])[0], model.score_tails(heads, relations)
    )
    torch.testing.assert_close(
        model.score_queries([(modal(tails), relations, "head")])[0], model.score_heads(relations, tails)
    )
    frozen = model.freeze()
    torch.testing.assert_close(frozen.score_triples(graph.test[:5]), by_triples)


@pytest.mark.parametrize("fusion", ["structure", "ikrl"])
def test_with_reciprocal_relations_a_triple_is_the_mean_of_both_directions(
    fusion: str, make_model: MakeModel, graph: Graph
) -> None:
    model = make_model(interaction={"name": "complex", "init": 1}, fusion=fusion, reciprocal=True).eval()
    heads, relations, tails = graph.test[:5].unbind(1)
    rows = torch.arange(5)
    forward, backward = (
        model.score_tails(heads, relations)[rows, tails],
        model.score_heads(relations, tails)[rows, heads],
    )
    assert not torch.allclose(forward, backward)
    torch.testing.assert_close(model.score_triples(graph.test[:5]), (forward + backward) / 2)


def transe(head: Tensor, relation: Tensor, tail: Tensor) -> Tensor:
    return -(head + relation - tail).abs().sum(-1)


def test_ikrl_and_tbkgc_are_the_sums_of_their_terms(make_model: MakeModel, graph: Graph) -> None:
    heads, relations, tails = graph.test[:5].unbind(1)
    for fusion in ("ikrl", "tbkgc"):
        model = make_model(interaction="transe", fusion=fusion).eval()
        h, r, t = model.entities.encode(heads), model.relations["relation"][relations], model.entities.encode(tails)
        if fusion == "ikrl":
            views = [(h["structure"], t["structure"]), (h["visual"], t["visual"])]
            views += [(h["structure"], t["visual"]), (h["visual"], t["structure"])]
        else:
            mh, mt = (torch.cat([e["visual"][:, :3], e["textual"][:, 3:]], dim=1) for e in (h, t))
            sh, st = h["structure"], t["structure"]
            views = [(sh, st), (mh, mt), (sh, mt), (mh, st), (sh + mh, st + mt)]
        expected = torch.stack([transe(left, r, right) for left, right in views]).sum(0)
        torch.testing.assert_close(model.score_triples(graph.test[:5]), expected)


@pytest.mark.parametrize("shared", [False, True])
def test_adamf_weighs_modalities_by_a_softmax(shared: bool, make_model: MakeModel) -> None:
    model = make_model(fusion={"name": "adamf", "shared": shared}).eval()
    modal = model.entities.encode()
    weights = model.fusion.attention
    logits = [modal[m].tanh() @ weights["shared" if shared else m] for m in ("structure", "visual", "textual")]
    alpha = torch.stack(logits).softmax(0)
    expected = sum(a.unsqueeze(1) * modal[m] for a, m in zip(alpha, ("structure", "visual", "textual"), strict=True))
    torch.testing.assert_close(model.fusion.views(modal)["joint"], expected)
    shares = model.modality_weights(torch.tensor([[3, 0, 4]]))
    assert shares is not None
    assert shares["visual"].item() == pytest.approx((alpha[1, 3] + alpha[1, 4]).item() / 2)


@pytest.mark.parametrize("fusion", ["mean", "adamf"])
def test_with_zeros_a_missing_modality_has_no_weight(fusion: str, make_model: MakeModel) -> None:
    """Entity 3 has no image, entity 5 no text, entity 15 neither."""
    model = make_model(fusion=fusion, missing="zeros").eval()
    modal = model.entities.encode()
    shares = model.fusion.modality_weights(modal)
    assert shares["visual"][[3, 15]].tolist() == [0, 0]
    assert shares["textual"][[5, 15]].tolist() == [0, 0]
    assert shares["structure"][15] == 1
    torch.testing.assert_close(sum(shares.values()), torch.ones(len(model.entities)))
    assert not modal["visual"][3].any()


def test_link_aware_attention_asks_with_the_relation(make_model: MakeModel, graph: Graph) -> None:
    model = make_model(fusion="link-aware", interaction="complex").eval()
    modal, relations = model.entities.encode(torch.tensor([4, 4])), torch.tensor([0, 2])
    names = ("structure", "textual", "visual")
    logits = torch.stack([(modal[m].tanh() * model.fusion.queries[relations]).sum(1) for m in names])
    expected = sum(a.unsqueeze(1) * modal[m] for a, m in zip(logits.softmax(0), names, strict=True))
    joint = model.fusion.views(modal, relations)["joint"]
    torch.testing.assert_close(joint, expected)
    assert not torch.allclose(joint[0], joint[1])


def test_what_stands_in_for_a_missing_modality(make_model: MakeModel) -> None:
    learned, random = make_model(missing="learned"), make_model(missing="random")
    visual = learned.entities.encode()["visual"]
    assert torch.equal(visual[3], learned.entities.absent["visual"])
    assert torch.equal(visual[3], visual[6])
    visual = random.entities.encode()["visual"]
    assert not torch.equal(visual[3], visual[6])
    assert all(present.all() for present in learned.entities.encode().present.values())


def test_structure_dropout_trains_the_path_of_new_entities(make_model: MakeModel) -> None:
    model = make_model(structure_dropout=0.5)
    absent = model.entities.absent["structure"]
    dropped = (model.train().entities.encode()["structure"] == absent).all(1)
    assert 3 < dropped.sum() < len(dropped) - 3
    dropped = (model.eval().entities.encode()["structure"] == absent).all(1)
    assert dropped.nonzero().squeeze(1).tolist() == [len(dropped) - 1]  # the one entity without a train triple
    unseen = model.entities.encode_new({"textual": torch.randn(2, 7)})
    assert torch.equal(unseen["structure"], absent.expand(2, -1))


def test_a_missing_structure_is_predicted_by_the_features_that_there_are(make_model: MakeModel) -> None:
    model = make_model(structure_dropout=0.5, missing_structure="predicted")
    vector, maps = model.entities.absent["structure"], model.entities.predictions
    assert not any(each.weight.any() for each in maps.values())  # it begins as without the prediction
    for each in maps.values():
        torch.nn.init.normal_(each.weight)
    features = model.entities.features

    def predicted(row: int) -> Tensor:
        parts = (maps[m](features.vectors(m)[row]) for m in maps if features.mask(m)[row])
        return vector + sum(parts)

    own = model.entities.structural_table()
    assert own is not None
    encoded = model.train().entities.encode()["structure"]
    dropped = (encoded != own).any(1)
    assert 3 < dropped.sum() < len(dropped) - 3
    expected = torch.stack([predicted(row) if dropped[row] else own[row] for row in range(len(own))])
    torch.testing.assert_close(encoded, expected)
    ids = torch.tensor([len(own) - 1, 2])  # the first has no train triple
    torch.testing.assert_close(
        model.eval().entities.encode(ids)["structure"], torch.stack([predicted(len(own) - 1), own[2]])
    )
    text = torch.randn(3, 7)
    torch.testing.assert_close(
        model.entities.encode_new({"textual": text})["structure"], vector + maps["textual"](text)
    )


def test_only_dropped_structure_trains_the_prediction(make_model: MakeModel) -> None:
    with pytest.raises(ValidationError, match="missing_structure: predicted is learned from structure_dropout"):
        make_model(missing_structure="predicted")
    model = make_model(structure_dropout=0.5, missing_structure="predicted").train()
    model.entities.encode()["structure"].sum().backward()
    assert all(each.weight.grad.any() for each in model.entities.predictions.values())


def test_modality_dropout_trains_the_path_of_entities_given_by_some_modalities(make_model: MakeModel) -> None:
    model = make_model(modality_dropout=0.5)
    absent, has = model.entities.absent["textual"], model.entities.features.textual_mask
    dropped = (model.train().entities.encode()["textual"] == absent).all(1)
    assert (dropped | has).all()
    assert 0 < (dropped & has).sum() < has.sum()
    assert torch.equal((model.eval().entities.encode()["textual"] == absent).all(1), ~has)
    together = [(model.train().entities.encode()[m] == model.entities.absent[m]).all(1) for m in ("textual", "visual")]
    assert not torch.equal(*together)  # each modality is dropped on its own


def test_what_no_entity_lacks_in_training_is_left_out_of_a_new_one(
    make_model: MakeModel, features: dict[str, Features]
) -> None:
    for mask in (table.mask for table in features.values()):
        mask.fill_(True)
    given = {"visual": torch.randn(2, features["visual"].dimension)}
    without = make_model().eval().entities.encode_new(given)
    assert not without.present["textual"].any()
    assert not without["textual"].any()
    assert make_model(modality_dropout=0.1).eval().entities.encode_new(given).present["textual"].all()


@pytest.mark.parametrize("missing_structure", ["learned", "predicted"])
def test_an_entity_that_comes_later_equals_one_of_the_table_with_the_same_features(
    missing_structure: str, make_model: MakeModel
) -> None:
    model = make_model(structure_dropout=0.5, missing_structure=missing_structure).eval()
    for each in model.entities.predictions.values():
        torch.nn.init.normal_(each.weight)
    table = model.entities.features
    last = len(model.entities) - 1
    raw = {"visual": table.visual[last : last + 1], "textual": table.textual[last : last + 1]}
    own, later = model.entities.encode(torch.tensor([last])), model.entities.encode_new(raw)
    for modality in ("structure", "visual", "textual"):
        torch.testing.assert_close(own[modality], later[modality])
    relation = torch.tensor([1])
    torch.testing.assert_close(
        model.score_queries([(later, relation, "tail")])[0], model.score_tails(torch.tensor([last]), relation)
    )


@pytest.mark.parametrize("missing", ["learned", "zeros", "random"])
@pytest.mark.parametrize("factor", [1e-3, 40.0])
def test_the_length_of_an_encoders_vectors_does_not_matter(
    missing: str, factor: float, make_model: MakeModel, features: dict[str, Features], graph: Graph
) -> None:
    def scores_and_later(**settings: str) -> tuple[Tensor, Tensor]:
        model = make_model(missing=missing, **settings).eval()
        return model.score_triples(graph.test), model.entities.encode_new({"visual": features["visual"].vectors[1:4]})[
            "visual"
        ]

    as_they_come, raw = scores_and_later(), scores_and_later(feature_scale="raw")
    length = torch.linalg.vector_norm(features["visual"].vectors[features["visual"].mask], dim=1).mean()
    for modality, table in features.items():
        features[modality] = Features(table.vectors * (factor / length), table.mask)
    torch.testing.assert_close(scores_and_later(), as_they_come)
    assert not torch.allclose(scores_and_later(feature_scale="raw")[0], raw[0])


def test_features_that_few_entities_have_are_projected_alike(
    make_model: MakeModel, features: dict[str, Features]
) -> None:
    vectors = torch.randn(30, 7)
    many, few = torch.arange(30) < 20, torch.arange(30) < 4
    tables = []
    for mask in (many, few):
        features["visual"] = Features(vectors, mask)
        model = make_model(missing="zeros", feature_scale="raw")
        chosen = model.entities.encode(torch.tensor([25, 2, 3, 22]))["visual"]
        tables.append(model.entities.encode()["visual"][:4])
        torch.testing.assert_close(chosen[1:3], tables[-1][2:])
        assert not chosen[[0, 3]].any()
        chosen.sum().backward()
        assert model.entities.projections["visual"].weight.grad is not None
    torch.testing.assert_close(*tables)


def test_without_structure_dropout_a_later_entity_has_no_structure(make_model: MakeModel) -> None:
    unseen = make_model(fusion="mean").eval().entities.encode_new({"textual": torch.randn(2, 7)})
    assert not unseen["structure"].any()
    assert not unseen.present["structure"].any()


def test_features_are_frozen_unless_fine_tuned(make_model: MakeModel, features: dict[str, Features]) -> None:
    frozen, tuned = make_model(), make_model(fine_tune=True)
    assert not any("features" in name for name in frozen.state_dict())
    assert dict(tuned.named_parameters())["entities.features.visual"].requires_grad
    assert torch.equal(frozen.entities.features.visual, features["visual"].vectors)


def test_relation_vectors_of_an_ensemble_are_its_own(make_model: MakeModel) -> None:
    assert set(make_model(fusion="mose").relations) == {"structure", "visual", "textual"}
