"""A warm start moves every row to the id that its key has in the changed graph, and nothing else."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.entity_encoders import ENTITY_ENCODERS
from mmkgc.components.kge.features import Features
from mmkgc.components.kge.fusions import FUSIONS
from mmkgc.components.kge.graph import Graph, Vocabulary
from mmkgc.components.kge.interactions import INTERACTIONS
from mmkgc.components.kge.model import Model, ModelConfig
from mmkgc.components.kge.warm_start import Growth, begin_from, difference, predicted_structure, trained_on
from mmkgc.components.runtime.errors import UserError
from tests.components.kge.conftest import NEEDS, N, R

MakeModel = Callable[..., Model]
SETTINGS = [
    *({"fusion": name} for name in FUSIONS.classes()),
    *({"interaction": name} for name in INTERACTIONS.classes() if name != "vista"),
    *({"encoder": name} for name in ENTITY_ENCODERS.classes()),
    {"reciprocal": True},
    {"structure_dropout": 0.2, "modality_dropout": 0.1},
    {"structure_dropout": 0.2, "missing_structure": "predicted"},
    {"missing": "random"},
    {"fine_tune": True},
]


def changed(settings: dict) -> dict:
    """With what the named part cannot do without."""
    needed = {"encoder": {"graph-context": {"interaction": "ote"}}, "interaction": {"conve": {"reciprocal": True}}}
    for kind, needs in needed.items():
        settings = settings | needs.get(str(settings.get(kind)), {})
    return settings | NEEDS.get(str(settings.get("fusion")), {})


def permuted(graph: Graph, entities: torch.Tensor, relations: torch.Tensor, more: int = 0) -> Graph:
    """The graph with other ids: id i becomes ``entities[i]``; and with ``more`` entities in no triple."""

    def moved(triples: torch.Tensor) -> torch.Tensor:
        heads, kinds, tails = triples.unbind(1)
        return torch.stack([entities[heads], relations[kinds], entities[tails]], dim=1)

    def vocabulary(old: Vocabulary, places: torch.Tensor, more: int = 0) -> Vocabulary:
        keys = [f"new{index}" for index in range(len(places) + more)]
        for key, place in zip(old.keys, places.tolist(), strict=True):
            keys[place] = key
        return Vocabulary(tuple(keys), tuple(keys))

    return replace(
        graph,
        entities=vocabulary(graph.entities, entities, more),
        relations=vocabulary(graph.relations, relations),
        **{split: moved(getattr(graph, split)) for split in ("train", "valid", "test")},
    )


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda each: "-".join(map(str, each.values())))
def test_a_graph_with_other_ids_scores_alike(
    settings: dict, make_model: MakeModel, graph: Graph, features: dict[str, Features]
) -> None:
    """The property that a row of every tensor is found by key, whatever the tensor's layout."""
    earlier = make_model(**changed(settings)).eval()
    for parameter in earlier.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))  # away from all constant initial values
    entities, relations = torch.randperm(N), torch.tensor([2, 0, 1])
    other = permuted(graph, entities, relations)
    back = entities.argsort()
    theirs = {m: Features(f.vectors[back].clone(), f.mask[back]) for m, f in features.items()}
    torch.manual_seed(9)
    model = Model(earlier.config, R, theirs, earlier.seen[back], other.train).eval()
    growth = begin_from(model, other, Bundle.of(earlier, graph)).growth
    assert (growth.entities, growth.relations, growth.anew) == (N - 1, R, ())
    torch.testing.assert_close(model.score_triples(other.valid), earlier.score_triples(graph.valid))
    h, r, _ = graph.valid[:5].unbind(1)
    seen = earlier.seen
    scores = model.score_tails(entities[h], relations[r])[:, entities]
    torch.testing.assert_close(scores[:, seen], earlier.score_tails(h, r)[:, seen])


def grown(graph: Graph, features: dict[str, Features], more: int) -> tuple[Graph, dict[str, Features]]:
    """The graph with the first entity gone, and ``more`` new ones, which have a text; one relation is new."""
    random = torch.Generator().manual_seed(3)
    keys = graph.entities.keys[1:] + tuple(f"n{index}" for index in range(more))
    kept = [each[(each[:, [0, 2]] > 0).all(1)] - torch.tensor([1, 0, 1]) for each in (graph.train, graph.valid)]
    added = torch.stack(
        [torch.arange(N - 1, N - 1 + more), torch.full((more,), R), torch.randint(N - 2, (more,), generator=random)], 1
    )
    relations = (*graph.relations.keys, "r-new")
    new = Graph(
        Vocabulary(keys, keys), Vocabulary(relations, relations), torch.cat([kept[0], added]), kept[1], kept[1][:0]
    )
    found = {}
    for m, each in features.items():
        fresh = torch.randn(more, 7, generator=random) if m == "textual" else torch.zeros(more, 7)
        mask = torch.full((more,), m == "textual")
        found[m] = Features(torch.cat([each.vectors[1:], fresh]), torch.cat([each.mask[1:], mask]))
    return new, found


def model_of(graph: Graph, features: dict[str, Features], config: ModelConfig) -> Model:
    seen = torch.zeros(len(graph.entities), dtype=torch.bool)
    seen[graph.train[:, [0, 2]].flatten()] = True
    return Model(config, len(graph.relations), features, seen, graph.train)


def start(make_model: MakeModel, graph: Graph, features: dict[str, Features], **settings: object) -> tuple:
    earlier = make_model(**settings).eval()
    new, theirs = grown(graph, features, 4)
    model = model_of(new, theirs, earlier.config)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    return earlier, model, before, begin_from(model, new, Bundle.of(earlier, graph)).growth, new, theirs


def test_old_rows_stay_and_what_is_gone_is_counted(
    make_model: MakeModel, graph: Graph, features: dict[str, Features]
) -> None:
    earlier, model, before, growth, *_ = start(make_model, graph, features)
    assert growth == Growth(
        entities=N - 2, new_entities=5, removed_entities=1, by_features=5, relations=R, new_relations=1,
        removed_relations=0,
    )  # fmt: skip
    old, new = earlier.entities.structural_table(), model.entities.structural_table()
    assert old is not None
    assert new is not None
    assert torch.equal(new[: N - 2], old[1 : N - 1])
    name = "relations.relation"
    assert torch.equal(model.state_dict()[name][:R], earlier.state_dict()[name])
    assert torch.equal(model.state_dict()[name][R], before[name][R])


@pytest.mark.parametrize("missing_structure", ["learned", "predicted"])
def test_with_structure_dropout_a_new_entity_first_scores_as_by_its_features_alone(
    missing_structure: str, make_model: MakeModel, graph: Graph, features: dict[str, Features]
) -> None:
    def trained(**settings: Any) -> Model:
        model = make_model(**settings)
        for each in model.entities.predictions.values():
            torch.nn.init.normal_(each.weight)
        return model

    settings = {"structure_dropout": 0.3, "missing_structure": missing_structure}
    earlier, model, _, growth, _, theirs = start(trained, graph, features, **settings)
    assert growth.by_features == (5 if missing_structure == "predicted" else 0)
    model.eval()
    ids = torch.arange(N - 1, N + 3)
    by_features = earlier.entities.encode_new({"textual": theirs["textual"].vectors[ids]})
    own = model.entities.encode(ids)
    torch.testing.assert_close(own["structure"], by_features["structure"])
    torch.testing.assert_close(own["textual"], by_features["textual"])


def test_a_new_entity_without_features_begins_as_in_a_first_training(
    make_model: MakeModel, graph: Graph, features: dict[str, Features]
) -> None:
    described = {m: Features(f.vectors, f.mask.clone()) for m, f in features.items()}
    earlier = make_model().eval()
    new, theirs = grown(graph, described, 4)
    for each in theirs.values():
        each.mask[N - 2 :] = False
    model = model_of(new, theirs, earlier.config)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert begin_from(model, new, Bundle.of(earlier, graph)).growth.by_features == 0
    table = model.entities.structural_table()
    assert table is not None
    assert torch.equal(table[N - 2 :], before["entities.structure"][N - 2 :])


def test_structure_that_is_linear_in_the_features_is_predicted_exactly() -> None:
    random = torch.Generator().manual_seed(0)
    vectors = torch.randn(400, 6, generator=random, dtype=torch.double)
    truth = vectors @ torch.randn(6, 3, generator=random, dtype=torch.double) + 2.0
    raw = [Features(vectors.float(), torch.ones(400, dtype=torch.bool))]
    known, asked = torch.arange(380), torch.arange(380, 400)
    found = predicted_structure(raw, known, truth[:380].float(), asked)
    assert (found - truth[asked]).abs().max() < 0.02 * truth.std()


def test_what_cannot_be_gone_on_from_is_said(
    make_model: MakeModel, graph: Graph, features: dict[str, Features]
) -> None:
    bundle = Bundle.of(make_model(interaction="complex", structure_dropout=0.1), graph)
    same = bundle.model.config
    assert difference(same, bundle) is None
    assert difference(same.model_copy(update={"structure_dropout": 0.4, "modality_dropout": 0.2}), bundle) is None
    assert "train.model.dimension = 6, and this recipe 8" in str(
        difference(same.model_copy(update={"dimension": 8}), bundle)
    )
    other = ModelConfig(dimension=6, interaction="rotate", structure_dropout=0.1)
    assert "train.model.interaction = complex (init" in str(difference(other, bundle))
    assert "structure_dropout = 0.1, and this recipe 0.0" in str(
        difference(same.model_copy(update={"structure_dropout": 0.0}), bundle)
    )
    with pytest.raises(UserError, match="vectors of structure, textual, visual, and this training structure, visual"):
        begin_from(model_of(graph, {"visual": features["visual"]}, same), graph, bundle)


def test_triples_are_recognised_by_key(make_model: MakeModel, graph: Graph) -> None:
    bundle = Bundle.of(make_model(), graph)
    entities, relations = torch.randperm(N), torch.tensor([1, 2, 0])
    other = permuted(graph, entities, relations, more=2)
    assert trained_on(other.train, other, bundle).all()
    assert not trained_on(other.test, other, bundle).any()
    new = torch.tensor([[0, 0, N], [N + 1, 1, 3]])
    assert trained_on(torch.cat([new, other.train[:1]]), other, bundle).tolist() == [False, False, True]
