from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer, BeitConfig, BeitImageProcessorPil, BeitModel, ViTConfig, ViTModel, pipeline
from transformers import ViTImageProcessorPil as ViTProcessor

from mmkgc.components.encoders.beit import BEiTConfig
from mmkgc.components.encoders.hf_text import HFTextConfig
from mmkgc.components.encoders.hf_vision import HFVisionConfig
from mmkgc.components.encoders.registry import create, recreate
from mmkgc.components.encoders.sbert import SBERTConfig, packaged
from mmkgc.components.encoders.weights import seeded
from mmkgc.components.runtime.errors import UserError

TEXTS = [
    "Norway: country in northern Europe",
    "ø",
    "  spaces  around ",
    "many words " * 400,
    "Oslo",
    "日本: 東アジアの国",
]
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    noise = np.random.default_rng(0).integers(0, 256, (3, 90, 60, 3), dtype=np.uint8)
    return [Image.fromarray(pixels) for pixels in noise]


@pytest.fixture(scope="module")
def beit_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "tiny-beit"
    network = seeded(1, lambda: BeitModel(BeitConfig(**SMALL, image_size=64), add_pooling_layer=False))
    network.save_pretrained(folder)
    BeitImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def test_sbert_equals_sentence_transformers() -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    reference = sentence_transformers.SentenceTransformer(str(packaged()), device="cpu").encode(TEXTS)
    vectors = create(SBERTConfig()).encode(TEXTS)
    assert (vectors.shape, vectors.dtype) == ((len(TEXTS), 384), np.float32)
    np.testing.assert_allclose(vectors, reference, atol=1e-5)


def test_a_vector_does_not_depend_on_its_batch() -> None:
    encoder = create(SBERTConfig())
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(encoder.encode(TEXTS), alone, atol=1e-5)


def test_long_texts_are_cut_and_say_so() -> None:
    encoder = create(SBERTConfig())
    short, long = encoder.prepare(["Oslo", "x " * 50_000])
    assert encoder.remark(short) == ""
    assert encoder.remark(long) == "cut to 256 tokens"
    assert np.isfinite(encoder.vectors([long])).all()


def test_sbert_identity() -> None:
    spec = create(SBERTConfig()).spec
    assert (spec.weights, spec.dimension, spec.normalised, spec.seed) == ("all-MiniLM-L6-v2", 384, True, None)
    random = create(SBERTConfig(weights="random", seed=7)).spec
    assert (random.weights, random.seed) == ("random", 7)
    assert random.sha256 != spec.sha256


def test_hf_text_equals_transformers_pipeline() -> None:
    reference = pipeline(
        "feature-extraction", model=str(packaged()), tokenizer=AutoTokenizer.from_pretrained(packaged())
    )
    encoder = create(HFTextConfig(weights=str(packaged()), pooling="mean"))
    words = [np.array(reference(text)[0]) for text in TEXTS[:3]]
    np.testing.assert_allclose(encoder.encode(TEXTS[:3]), [each.mean(0) for each in words], atol=1e-5)
    for found, expected in zip(encoder.sequences(encoder.prepare(TEXTS[:3])), words, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    cls = create(HFTextConfig(weights=str(packaged()), pooling="cls", normalise=True)).encode(TEXTS[:1])
    np.testing.assert_allclose(cls[0], words[0][0] / np.linalg.norm(words[0][0]), atol=1e-5)


def test_beit_equals_transformers_pipeline(beit_folder: Path, images: list[Image.Image]) -> None:
    reference = pipeline("image-feature-extraction", model=str(beit_folder), use_fast=False)
    hidden = np.array([reference(image)[0] for image in images])
    encoder = create(BEiTConfig(weights=str(beit_folder)))
    np.testing.assert_allclose(encoder.encode(images), hidden[:, 0], atol=1e-5)
    np.testing.assert_allclose(encoder.sequences(encoder.prepare(images)), hidden[:, 1:], atol=1e-5)
    mean = create(BEiTConfig(weights=str(beit_folder), pooling="mean"))
    np.testing.assert_allclose(mean.encode(images), hidden[:, 1:].mean(1), atol=1e-5)
    assert mean.spec != encoder.spec
    assert recreate(mean.spec.model_dump() | {"weights": str(beit_folder)}).spec.options["pooling"] == "mean"


def test_any_vision_model_by_folder(tmp_path: Path, images: list[Image.Image]) -> None:
    torch.manual_seed(0)
    network = ViTModel(ViTConfig(**SMALL, image_size=32), add_pooling_layer=False).eval()
    network.save_pretrained(tmp_path / "vit")
    processor = ViTProcessor(size={"height": 32, "width": 32})
    processor.save_pretrained(tmp_path / "vit")
    pixels = processor(images, return_tensors="pt")["pixel_values"]
    expected = network(pixels).last_hidden_state[:, 0].detach()
    found = create(HFVisionConfig(weights=str(tmp_path / "vit"))).encode(images)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_half_precision_is_near_and_another_identity() -> None:
    full, half = create(SBERTConfig()), create(SBERTConfig(precision="bfloat16"))
    np.testing.assert_allclose(half.encode(TEXTS), full.encode(TEXTS), atol=0.03)
    assert (full.spec.precision, half.spec.precision) == ("float32", "bfloat16")


def test_random_beit_is_the_base_size() -> None:
    encoder = create(BEiTConfig(weights="random"))
    assert (encoder.spec.weights, encoder.spec.seed, encoder.spec.dimension) == ("random", 0, 768)
    assert encoder.encode([Image.new("RGB", (20, 10), "red")]).shape == (1, 768)


def test_the_hub_is_named_where_weights_are_nowhere() -> None:
    with pytest.raises(UserError, match="no local folder of this name, and the hub does not give these weights"):
        _ = create(BEiTConfig()).spec
    with pytest.raises(UserError, match="no such folder"):
        _ = create(HFTextConfig(weights="./nowhere")).spec


def test_pickled_checkpoints_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(UserError, match=r"no \*\.safetensors file"):
        _ = create(HFTextConfig(weights=str(tmp_path))).spec
