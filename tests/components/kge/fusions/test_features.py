"""Fusions of structure with features against their formulas, number by number, and what only they have."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mmkgc.components.kge.batch_loss import batch_losses
from mmkgc.components.kge.features import Features
from mmkgc.components.kge.fusions.rsme import mean_ranks
from mmkgc.components.kge.graph import Graph, KnownTriples
from mmkgc.components.kge.model import Model, ModelConfig
from mmkgc.components.kge.negatives import SAMPLERS
from mmkgc.components.kge.negatives.base import Context
from mmkgc.components.kge.negatives.samples import Batch
from mmkgc.components.kge.negatives.scoring import score_blocks
from tests.components.kge.loops import layer_by_loops

MakeModel, MakeContext = Callable[..., Model], Callable[..., Context]


def transe(head: list[float], relation: list[float], tail: list[float]) -> float:
    return -sum(abs(h + r - t) for h, r, t in zip(head, relation, tail, strict=True))


def linear(matrix: Tensor, vector: list[float]) -> list[float]:
    return [sum(w * x for w, x in zip(row, vector, strict=True)) for row in matrix.tolist()]


def plus(*vectors: list[float]) -> list[float]:
    return [sum(values) for values in zip(*vectors, strict=True)]


def cosine(left: list[float], right: list[float]) -> float:
    product = sum(a * b for a, b in zip(left, right, strict=True))
    return product / math.hypot(*left) / math.hypot(*right) if any(left) and any(right) else 0.0


def test_vbkgc_is_ikrl_with_image_and_text_in_one(make_model: MakeModel, graph: Graph) -> None:
    model = make_model(interaction="transe", fusion="vbkgc", missing="zeros").eval()
    modal = model.entities.encode()
    s, v, t = (modal[m].tolist() for m in ("structure", "visual", "textual"))
    m = [plus(image, text) for image, text in zip(v, t, strict=True)]
    assert m[3] == t[3]  # entity 3 has no image
    for (head, relation, tail), score in zip(graph.test[:8].tolist(), model.score_triples(graph.test[:8]), strict=True):
        r = model.relations["relation"][relation].tolist()
        expected = sum(transe(a[head], r, b[tail]) for a in (s, m) for b in (s, m))
        assert score.item() == pytest.approx(expected, rel=1e-5)


def test_twins_draw_structure_and_features_independently(
    make_model: MakeModel, make_context: MakeContext, graph: Graph
) -> None:
    model = make_model(interaction="transe", fusion="vbkgc").eval()
    sampler = SAMPLERS.create({"name": "twins", "count": 20}, make_context(model))
    batch, known = Batch(graph.train, torch.ones(len(graph.train))), KnownTriples(graph.train, 30, 3)
    same, count, left, right = 0, 0, [], []
    for block in sampler.sample(batch, model):
        side = "tail" if block.head is None else "head"
        negatives: Any = block.tail or block.head
        structure, features = negatives.of("structure"), negatives.of("visual")
        assert torch.equal(features, negatives.of("textual"))
        for ids in (structure, features):
            assert not len(known.collisions(batch.triples[block.rows], side, ids))
        same, count = same + (structure == features).sum().item(), count + structure.numel()
        left.append(structure.flatten())
        right.append(features.flatten())
    assert same / count < 0.1  # 1 in about 25 by chance
    assert abs(torch.corrcoef(torch.stack([torch.cat(left), torch.cat(right)]).float())[0, 1]) < 0.1
    positive, negative = score_blocks(model, model.encode(), batch.triples, [block])
    assert positive.isfinite().all()
    assert negative.isfinite().all()


def test_mmkrl_is_the_mean_of_four_translations_and_aligns(make_model: MakeModel, graph: Graph) -> None:
    model = make_model(interaction="transe", fusion={"name": "mmkrl", "weight": 2.0}, missing="zeros").eval()
    modal, fusion = model.entities.encode(), model.fusion
    e = modal["structure"].tolist()
    own = [plus(linear(fusion.own.weight, vector), fusion.own.bias.tolist()) for vector in e]
    m = [plus(image, text) for image, text in zip(modal["visual"].tolist(), modal["textual"].tolist(), strict=True)]
    head, relation, tail = graph.test[0].tolist()
    r = model.relations["relation"][relation].tolist()
    expected = sum(transe(a[head], r, b[tail]) for a in (own, m) for b in (own, m)) / 4
    assert model.score_triples(graph.test[:1]).item() == pytest.approx(expected, rel=1e-5)
    gaps = [(x - y) ** 2 for a, b in zip(e, own, strict=True) for x, y in zip(a, b, strict=True)]
    gaps += [
        (x - y) ** 2
        for a, b in zip(e, m, strict=True)
        for x, y in zip(linear(fusion.aligned.weight, a), b, strict=True)
    ]
    assert fusion.auxiliary(modal)["alignment"].item() == pytest.approx(2 * sum(gaps) / (30 * 6), rel=1e-4)


@pytest.mark.parametrize("fusion", ["mmkrl", "ikrl", "adamf", "rsme"])
def test_a_perturbed_positive_is_harder_and_its_structure_stays(
    fusion: str, make_model: MakeModel, make_context: MakeContext, batch: Batch
) -> None:
    model = make_model(interaction="transe", fusion=fusion).eval()
    context = make_context(model)
    sampler = SAMPLERS.create({"name": "perturbation", "count": 3, "epsilon": 0.05}, context)
    blocks, encoded = sampler.sample(batch, model), model.encode()
    refined = sampler.refine(batch, blocks, encoded, model)
    assert len(refined) == 2 * len(blocks)
    for plain, moved in zip(blocks, refined[len(blocks) :], strict=True):
        assert moved.positive_head
        assert (plain.head, plain.tail) == (moved.head, moved.tail)
        (true, _), (harder, _) = (score_blocks(model, encoded, batch.triples, [b]) for b in (plain, moved))
        assert (harder < true + 1e-6).all()
        assert (harder < true - 1e-4).float().mean() > 0.9
        own, other = encoded.modal.rows(batch.heads[moved.rows]), moved.positive_head.modal
        assert torch.equal(other["structure"].squeeze(1), own["structure"])
        length = [
            torch.linalg.vector_norm(v, dim=-1) for v in (other["visual"].squeeze(1) - own["visual"], own["visual"])
        ]
        has_say = length[0] > 0  # rsme does not look at the image that an entity lacks
        assert has_say.float().mean() > 0.4
        torch.testing.assert_close(length[0][has_say], 0.05 * length[1][has_say])
    losses = batch_losses(model, batch, refined, context.loss, context.train).losses
    assert set(losses) >= {"negatives", "perturbed"}
    assert sampler.refine(batch, blocks, encoded, model) is not blocks


def test_rsme_mixes_structure_with_images_and_adds_their_likeness(
    make_model: MakeModel, graph: Graph, features: dict[str, Features]
) -> None:
    settings = {"name": "rsme", "alpha": 0.6, "beta": 0.8, "threshold": 1.0}
    model = make_model(interaction="transe", fusion=settings, missing="zeros", feature_scale="raw").eval()
    s, f = model.entities.encode()["structure"].tolist(), features["visual"].vectors.tolist()
    w = model.fusion.projection.weight
    e = [
        plus([0.4 * x for x in own], [0.6 * x for x in linear(w, image)]) if any(image) else own
        for own, image in zip(s, f, strict=True)
    ]
    gates = model.relations["likeness"].squeeze(1).tolist()
    assert gates == [1, 1, 1]
    for (head, relation, tail), score in zip(graph.test[:9].tolist(), model.score_triples(graph.test[:9]), strict=True):
        r = model.relations["relation"][relation].tolist()
        expected = 0.8 * transe(e[head], r, e[tail]) + 0.2 * gates[relation] * cosine(f[head], f[tail])
        assert score.item() == pytest.approx(expected, rel=1e-5)


def test_rsmes_gate_opens_where_the_ends_of_train_triples_look_alike() -> None:
    """Relation 0 joins entities with near images, 1 random ones, 2 has no triple, 3 entities without images."""
    random = torch.Generator().manual_seed(5)
    images = torch.randn(20, 4, generator=random)
    images[1::2] = images[::2] + 0.01 * torch.randn(10, 4, generator=random)
    images[18:] = 0
    features = Features(images, torch.arange(20) < 18)
    alike = [[i, 0, i + 1] for i in range(0, 18, 2)]
    other = [[i, 1, (i + 7) % 18] for i in range(18)]
    triples = torch.tensor([*alike, *other, [18, 3, 19], [0, 3, 18]])
    ranks = mean_ranks(features, triples, 4)
    assert ranks[0] == 0
    assert 0.2 < ranks[1] < 0.8
    assert ranks[2:].tolist() == [1, 1]
    shares = []
    for h, _, t in other:
        for ours, theirs in ((h, t), (t, h)):
            gold = cosine(images[ours].tolist(), images[theirs].tolist())
            rivals = [cosine(images[ours].tolist(), images[k].tolist()) for k in range(18) if k != ours]
            shares.append(sum(rival > gold for rival in rivals) / 16)
    assert ranks[1].item() == pytest.approx(sum(shares) / len(shares))
    config = ModelConfig(dimension=4, fusion={"name": "rsme", "threshold": 0.1}, reciprocal=True)
    model = Model(config, 4, {"visual": features}, torch.ones(20, dtype=torch.bool), triples)
    gates = model.relations["likeness"]
    assert gates.squeeze(1).tolist() == [1, 0, 0, 0] * 2
    assert not gates.requires_grad


def tanh_layers(layers: Any, vector: list[float]) -> list[float]:
    hidden = [math.tanh(x) for x in plus(linear(layers[0].weight, vector), layers[0].bias.tolist())]
    return plus(linear(layers[2].weight, hidden), layers[2].bias.tolist())


def test_transaes_bottleneck_is_the_entity_and_gives_its_features_back(make_model: MakeModel, graph: Graph) -> None:
    fusion = {"name": "transae", "hidden": 5, "weight": 0.5}
    settings = {"interaction": "transe", "fusion": fusion, "missing": "zeros", "structure": False}
    model = make_model(**settings).eval()
    modal = model.entities.encode()
    assert set(modal.vectors) == {"visual", "textual"}
    given = [a + b for a, b in zip(modal["textual"].tolist(), modal["visual"].tolist(), strict=True)]
    e = [tanh_layers(model.fusion.encoder, vector) for vector in given]
    head, relation, tail = graph.test[0].tolist()
    expected = transe(e[head], model.relations["relation"][relation].tolist(), e[tail])
    assert model.score_triples(graph.test[:1]).item() == pytest.approx(expected, rel=1e-4)
    errors = []
    for entity, (vector, bottleneck) in enumerate(zip(given, e, strict=True)):
        back = tanh_layers(model.fusion.decoder, bottleneck)
        own = [entity % 5 > 0] * 7 + [entity % 3 > 0] * 7  # the features that it has
        errors += [(x - y) ** 2 for x, y, there in zip(back, vector, own, strict=True) if there]
    assert model.fusion.auxiliary(modal)["reconstruction"].item() == pytest.approx(
        0.5 * sum(errors) / len(errors), rel=1e-4
    )


def test_transae_learns_to_reconstruct(make_model: MakeModel, make_context: MakeContext, batch: Batch) -> None:
    model = make_model(interaction="transe", fusion="transae", missing="zeros")
    context = make_context(model)
    sampler = SAMPLERS.create({"name": "uniform", "count": 2}, context)
    optimizer, losses = torch.optim.Adam(model.parameters(), lr=0.01), []
    for _ in range(30):
        found = batch_losses(model, batch, sampler.sample(batch, model), context.loss, context.train).losses
        optimizer.zero_grad()
        sum(found.values()).backward()
        optimizer.step()
        losses.append(found["reconstruction"].item())
    assert losses[-1] < 0.5 * losses[0]


def sinkhorn_by_loops(f: list[float], e: list[float], blur: float) -> list[list[float]]:
    cost = [[(x - y) ** 2 for y in e] for x in f]
    kernel = [[math.exp(-c / max(map(max, cost)) / blur) for c in row] for row in cost]
    u, v = [1.0] * len(f), [1.0] * len(e)
    for _ in range(2000):
        u = [1 / len(f) / sum(k * b for k, b in zip(row, v, strict=True)) for row in kernel]
        v = [1 / len(e) / sum(kernel[i][j] * u[i] for i in range(len(f))) for j in range(len(e))]
    return [[u[i] * kernel[i][j] * v[j] for j in range(len(e))] for i in range(len(f))]


def test_otkge_carries_features_by_the_mean_plan_of_the_first_entities(make_model: MakeModel) -> None:
    model = make_model(interaction="complex", fusion={"name": "otkge", "anchors": 4}, missing="zeros").eval()
    fusion: Any = model.fusion
    torch.nn.init.normal_(model.entities.structure)
    before = model.encode().views["joint"]
    fusion.begin_epoch(0, 1, model.entities)
    modal = model.entities.encode()
    e, f = modal["structure"].tolist(), modal["visual"].tolist()
    plans = [sinkhorn_by_loops(f[i], e[i], 0.1) for i in (1, 2)]  # of entities 0 to 3, 0 and 3 have no image
    plan = [[12 * (a + b) / 2 for a, b in zip(*rows, strict=True)] for rows in zip(*plans, strict=True)]
    for ours, theirs in zip(fusion.plan_visual.tolist(), plan, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    torch.testing.assert_close(fusion.plan_visual.sum(0), torch.ones(12), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(fusion.plan_visual.sum(1), torch.full((7,), 12 / 7), rtol=1e-4, atol=1e-4)
    t = modal["textual"].tolist()
    parts = [
        linear((fusion.get_buffer(f"plan_{m}") + fusion.maps[m]).T, own[7])
        for m, own in (("visual", f), ("textual", t))
    ]
    expected = [0.2 * s + 0.1 * v + 0.7 * w for s, v, w in zip(e[7], *parts, strict=True)]
    joint = model.encode().views["joint"]
    assert joint[7].tolist() == pytest.approx(expected, rel=1e-4)
    assert not torch.allclose(before, joint)


def test_otkges_vector_of_an_entity_does_not_depend_on_the_batch(make_model: MakeModel) -> None:
    model = make_model(interaction="complex", fusion="otkge").eval()
    model.fusion.begin_epoch(0, 1, model.entities)
    plan = model.fusion.get_buffer("plan_visual").clone()
    whole = model.encode().views["joint"]
    for ids in (torch.tensor([20, 3]), torch.tensor([3, 4, 20])):
        encoded = model.encode([ids])
        torch.testing.assert_close(encoded.views["joint"][encoded.index(ids)], whole[ids])
    whole.sum().backward()
    assert torch.equal(model.fusion.get_buffer("plan_visual"), plan)  # no gradient, no parameter
    assert "fusion.plan_visual" in model.state_dict()


def test_shares_of_more_than_everything_are_refused() -> None:
    from mmkgc.components.train.config import TrainConfig

    with pytest.raises(ValueError, match="more than all of a vector"):
        TrainConfig(model={"fusion": {"name": "otkge", "visual": 0.6}})


def test_vista_reads_what_an_entity_has_as_tokens(make_model: MakeModel) -> None:
    """What is missing is masked: the vector of entity 3 does not change with the image that it lacks."""
    fusion = {"name": "vista", "layers": 1, "heads": 2}
    model = make_model(
        interaction={"name": "vista", "layers": 1}, fusion=fusion, missing="zeros", reciprocal=True
    ).eval()
    modal, vista = model.entities.encode(), model.fusion
    joint = vista.views(modal)["joint"]
    for entity, names in ((7, ("structure", "textual", "visual")), (3, ("structure", "textual")), (15, ("structure",))):
        assert [m for m in vista.modalities if modal.present[m][entity]] == list(names)
        tokens = [vista.first.tolist()]
        tokens += [(vista.norms[m](modal[m][entity]) + vista.kinds[m]).tolist() for m in names]
        expected = layer_by_loops(vista.encoder.layers[0], tokens, heads=2)[0]
        assert joint[entity].tolist() == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_heads_that_cannot_share_a_vector_are_refused() -> None:
    from mmkgc.components.train.config import TrainConfig

    model = {"interaction": {"name": "vista", "heads": 3}, "reciprocal": True, "dimension": 8}
    with pytest.raises(ValueError, match="among 3 heads"):
        TrainConfig(model=model)
