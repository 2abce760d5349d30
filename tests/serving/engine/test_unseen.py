"""Entities that the graph does not hold, read by the real sentence encoder and by an untrained VGG-16."""

from base64 import b64encode
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from mmkgc.components.dataset.modalities.visual import MAX_IMAGE_BYTES
from mmkgc.components.encoders.images import decode
from mmkgc.components.encoders.registry import create, recreate
from mmkgc.components.encoders.vgg16 import VGG16Config
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.features import Features
from mmkgc.components.kge.graph import KnownTriples
from mmkgc.components.kge.model import Model, ModelConfig
from mmkgc.serving.api.protocol import ErrorCode, Unseen
from mmkgc.serving.engine.engine import Engine
from mmkgc.serving.engine.unseen import UnseenEntities

TEXT = "A quiet town on the bank of a wide river."


@pytest.fixture(scope="module")
def reading(reading_bundle) -> Engine:
    return Engine(reading_bundle)


def png(size: tuple[int, int] = (40, 30), colour: str = "red") -> str:
    buffer = BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return b64encode(buffer.getvalue()).decode()


def test_a_described_head_is_scored_through_the_projection(reading, reading_bundle):
    encoder = recreate(reading_bundle.encoders["textual"])
    features = torch.from_numpy(np.asarray(encoder.encode([TEXT])))
    with torch.no_grad():
        modal = reading_bundle.model.entities.encode_new({"textual": features})
        scores = reading_bundle.model.score_queries([(modal, torch.tensor([1]), "tail")])[0][0]
    (answer,) = reading.answer([{"head": {"text": TEXT}, "relation": "r1", "k": 5}])
    assert answer["head"] == {"key": None, "name": None}
    assert [p["key"] for p in answer["predictions"]] == [f"e{i}" for i in scores.topk(5).indices.tolist()]
    assert [p["score"] for p in answer["predictions"]] == pytest.approx(scores.topk(5).values.tolist(), abs=1e-4)


@pytest.mark.parametrize("side", ["head", "tail"])
def test_entities_of_types_that_the_relation_never_has_are_left_out(reading_bundle, side):
    """A described country was proposed to border organisations. Here, relation 1 has towns (odd) alone on one side."""
    graph = reading_bundle.known
    town = graph.triples[:, 0 if side == "head" else 2] % 2 == 1
    kept = graph.triples[town | (graph.triples[:, 1] != 1)]
    engine = Engine(replace(reading_bundle, known=KnownTriples(kept, graph.n_entities, graph.n_relations)))
    other = {"head": "tail", "tail": "head"}[side]
    for given in ({"text": TEXT}, "e2"):
        query = {other: given, "relation": "r1", "k": 40, "exclude_known": False}
        usual, anything, rivers, listed, elsewhere = engine.answer(
            [
                query,
                query | {"exclude_other_types": False},
                query | {"type": "river"},
                query | {"candidates": ["e1", "e4"]},
                query | {"relation": "r2"},
            ]
        )
        assert types_of(usual) == ["town"] * 20
        assert {p["key"]: p["score"] for p in usual["predictions"]}.items() <= {
            p["key"]: p["score"] for p in anything["predictions"]
        }.items()
        assert set(types_of(rivers)) == {"river"}
        assert sorted(types_of(listed)) == ["river", "town"]
        assert set(types_of(elsewhere)) == {"river", "town"}


def types_of(answer):
    return ["town" if int(p["key"][1:]) % 2 else "river" for p in answer["predictions"]]


def test_every_direction_takes_an_unseen_entity(reading):
    unseen = {"text": TEXT}
    head, tail, relation, triple = reading.answer(
        [
            {"relation": "r1", "tail": unseen, "k": 3},
            {"head": unseen, "relation": "r1", "k": 40},
            {"head": unseen, "tail": "e2"},
            {"head": unseen, "relation": "r1", "tail": "e2"},
        ]
    )
    assert len(head["predictions"]) == 3
    by_key = {p["key"]: p["score"] for p in tail["predictions"]}
    assert triple["score"] == pytest.approx(by_key["e2"], abs=1e-4)
    by_relation = {p["key"]: p["score"] for p in relation["predictions"]}
    assert triple["score"] == pytest.approx(by_relation["r1"], abs=1e-4)
    assert not triple["known"]


def test_a_batch_of_texts_is_one_answer_each(reading):
    queries = [{"head": {"text": f"{TEXT} {i}"}, "relation": "r1", "k": 2} for i in range(5)]
    together = reading.answer(queries)
    for query, answer in zip(queries, together, strict=True):
        (alone,) = reading.answer([query])
        assert [p["key"] for p in answer["predictions"]] == [p["key"] for p in alone["predictions"]]


def test_other_weights_are_refused(make_reading_bundle):
    bundle = make_reading_bundle()
    bundle.encoders["textual"] = {**bundle.encoders["textual"], "sha256": "0" * 64}
    (answer,) = Engine(bundle).answer([{"head": {"text": TEXT}, "relation": "r1"}])
    assert answer["error"]["code"] == ErrorCode.UNSUPPORTED
    assert "weights" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("unseen", "code"),
    [
        ({"image": png()}, ErrorCode.NO_MODALITY),
        ({"text": "x" * 10_001}, ErrorCode.INVALID_QUERY),
        ({"text": ""}, ErrorCode.INVALID_QUERY),
        ({"image": "not base64!"}, ErrorCode.INVALID_QUERY),
        ({"image": b64encode(b"x" * (MAX_IMAGE_BYTES + 1)).decode()}, ErrorCode.INVALID_QUERY),
        ({"image": b64encode(b"GIF89a").decode()}, ErrorCode.BAD_IMAGE),
        ({"image": png((8000, 6500))}, ErrorCode.BAD_IMAGE),
        ({"text": TEXT, "url": "http://example.org"}, ErrorCode.INVALID_QUERY),
    ],
)
def test_what_cannot_be_read_is_told(reading, unseen, code):
    (answer,) = reading.answer([{"head": unseen, "relation": "r1"}])
    assert answer["error"]["code"] == code


@pytest.mark.slow
def test_a_picture_is_read_by_the_bundles_visual_encoder(bundle):
    encoder = create(VGG16Config(weights="random"))
    n = len(bundle.entities)
    torch.manual_seed(0)
    features = {"visual": Features(torch.randn(n, encoder.dimension), torch.ones(n, dtype=torch.bool))}
    model = Model(ModelConfig(dimension=8), len(bundle.relations), features, torch.ones(n, dtype=torch.bool)).eval()
    seeing = Bundle(model, bundle.entities, bundle.relations, None, bundle.train, bundle.known)
    seeing.encoders["visual"] = encoder.spec.model_dump()
    red, blue, bad = Engine(seeing).answer(
        [{"head": {"image": image}, "relation": "r1", "k": 40} for image in (png(), png(colour="blue"), png()[:40])]
    )
    with torch.no_grad():
        modal = model.entities.encode_new(
            {"visual": torch.from_numpy(encoder.encode([Image.new("RGB", (40, 30), "red")]))}
        )
        scores = model.score_queries([(modal, torch.tensor([1]), "tail")])[0][0]
    assert [p["score"] for p in red["predictions"]] == pytest.approx(
        scores.sort(descending=True).values.tolist(), abs=1e-3
    )
    assert [p["score"] for p in red["predictions"]] != [p["score"] for p in blue["predictions"]]
    assert bad["error"]["code"] == ErrorCode.BAD_IMAGE


def turned(image: Image.Image, kind: str) -> bytes:
    """Bytes of an image that its EXIF data say is to be turned."""
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(data := BytesIO(), kind, exif=exif)
    return data.getvalue()


def kinds() -> dict[str, bytes]:
    """A picture in every form in which decoders have gone apart."""
    values = np.random.default_rng(0).integers(0, 256, (30, 44, 4), dtype=np.uint8)
    colours, grey = Image.fromarray(values), Image.fromarray(values[..., 0].astype(np.uint16) * 257)
    pictures = {"turned": turned(colours.convert("RGB"), "JPEG")}
    saved = {"alpha": (colours, "PNG"), "deep": (grey, "PNG"), "palette": (colours.quantize(9), "GIF")}
    saved |= {kind: (colours.convert("RGB"), kind) for kind in ("AVIF", "TIFF", "BMP", "WEBP")}
    for name, (image, kind) in saved.items():
        image.save(data := BytesIO(), kind)
        pictures[name] = data.getvalue()
    return pictures


@pytest.mark.parametrize("kind", kinds())
def test_a_picture_is_the_same_to_a_query_as_to_extraction(bundle, kind):
    data, encoder = kinds()[kind], create(VGG16Config(weights="random"))
    unseen = UnseenEntities(bundle)
    unseen.modalities, unseen.specs = ("visual",), {"visual": encoder.spec.model_dump()}
    unseen._encoders["visual"] = encoder
    given = unseen.read(Unseen(image=b64encode(data)))
    assert torch.equal(given["visual"], encoder.prepare([decode(data)])[0])


def test_the_limits_of_a_query_are_those_of_extraction(reading):
    line = png((20_000, 1))
    (answer,) = reading.answer([{"head": {"image": line}, "relation": "r1"}])
    assert answer["error"]["code"] == ErrorCode.BAD_IMAGE
    assert "a line rather than a picture" in answer["error"]["message"]


@pytest.fixture(scope="module")
def counting(counting_folder) -> Engine:
    return Engine.load(counting_folder)


def test_numbers_are_read_by_the_quantiles_that_the_bundle_learnt(counting):
    model, encoder = counting.bundle.model, recreate(counting.bundle.encoders["numeric"])
    item = (("founded", 1510.0), ("population", 5400.0))
    with torch.no_grad():
        modal = model.entities.encode_new({"numeric": torch.from_numpy(encoder.encode([item]))})
        scores = model.score_queries([(modal, torch.tensor([1]), "tail")])[0][0]
    numbers = {"population": 5.4e3, "founded": "1510-01-01"}
    (answer,) = counting.answer([{"head": {"numbers": numbers}, "relation": "r1", "k": 5}])
    assert [p["key"] for p in answer["predictions"]] == [f"e{i}" for i in scores.topk(5).indices.tolist()]
    assert [p["score"] for p in answer["predictions"]] == pytest.approx(scores.topk(5).values.tolist(), abs=1e-4)


@pytest.mark.parametrize(
    ("numbers", "code", "told"),
    [
        ({"populaton": 5}, ErrorCode.BAD_CONTENT, "did you mean 'population'?"),
        ({"population": "many"}, ErrorCode.INVALID_QUERY, "'many' is no number and no date"),
        ({"population": True}, ErrorCode.INVALID_QUERY, "give a finite number"),
        ({"population": 10**400}, ErrorCode.INVALID_QUERY, "give a finite number"),
        ({"population": None}, ErrorCode.INVALID_QUERY, "give a finite number"),
        ({}, ErrorCode.INVALID_QUERY, "at least 1"),
    ],
)
def test_numbers_that_cannot_be_read_are_told(counting, numbers, code, told):
    (answer,) = counting.answer([{"head": {"numbers": numbers}, "relation": "r1"}])
    assert answer["error"]["code"] == code
    assert told in answer["error"]["message"]


def test_a_number_never_seen_before_is_placed_within_the_scale(counting):
    answers = counting.answer([{"head": {"numbers": {"population": each}}, "relation": "r1"} for each in (4e4, 1e300)])
    assert answers[0]["predictions"] == answers[1]["predictions"]


def test_explanations_weigh_numbers_like_any_modality(counting):
    (answer,) = counting.answer([{"head": "e3", "relation": "r1", "k": 1, "explain": True}])
    assert set(answer["predictions"][0]["shares"]) == {"structure", "numeric"}


def test_the_model_says_how_it_may_be_asked(counting, reading):
    assert counting.catalog.model()["describing"] == [
        {
            "modality": "numeric",
            "field": "numbers",
            "noun": "number",
            "widget": "pairs",
            "names": ["founded", "population"],
        }
    ]
    assert [one["field"] for one in reading.catalog.model()["describing"]] == ["text"]
