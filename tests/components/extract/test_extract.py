import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.encoders.base import Encoder
from mmkgc.components.encoders.beit import BEiTConfig
from mmkgc.components.encoders.images import decode
from mmkgc.components.encoders.literals import LiteralsConfig
from mmkgc.components.encoders.registry import create
from mmkgc.components.encoders.sbert import SBERTConfig
from mmkgc.components.extract.config import ExtractConfig, ImportedConfig
from mmkgc.components.extract.extract import extract as step
from mmkgc.components.extract.extract import extract_shard, make_features
from mmkgc.components.kge.graph import Graph, Vocabulary, no_triples
from mmkgc.components.runtime import tracking
from mmkgc.components.runtime.errors import UserError
from mmkgc.feature_store import writer
from mmkgc.feature_store.manifest import Manifest
from mmkgc.feature_store.opening import open_storage
from mmkgc.feature_store.reader import load_features, load_tokens
from mmkgc.feature_store.storage import Storage, Stored

Publish = Callable[..., str]
Png = Callable[[int], bytes]


def extract(graph_uri: str, modality: str, config: ExtractConfig, storage: Storage) -> Stored:
    """The step without its MLflow run."""
    return make_features(MMKG.load(storage.fetch(graph_uri)), modality, config, storage)


@pytest.fixture
def config(tiny_beit: Path) -> ExtractConfig:
    return ExtractConfig(visual=BEiTConfig(weights=str(tiny_beit)), batch_size=4, workers=2)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many items went through a network, batch by batch."""
    sizes: list[int] = []
    vectors = Encoder.vectors

    def counting(self: Encoder, batch: list) -> np.ndarray:
        sizes.append(len(batch))
        return vectors(self, batch)

    monkeypatch.setattr(Encoder, "vectors", counting)
    return sizes


def table(uri: str, storage: Storage) -> list[dict]:
    return pq.read_table(Path(uri).with_name(Manifest.read(uri, storage).entities.name)).to_pylist()


def test_images_are_pooled_by_the_mean(publish: Publish, storage: Storage, config: ExtractConfig, png: Png) -> None:
    digests = [storage.put_blob(png(number)) for number in range(3)]
    uri = extract(publish([(digests[0],), (), tuple(digests)]), "visual", config, storage).uri
    each = create(config.encoder("visual")).encode([decode(png(number)) for number in range(3)])
    found = load_features(uri, ["e0", "e1", "e2"], storage)
    np.testing.assert_allclose(found.vectors[0], each[0], atol=1e-5)
    np.testing.assert_allclose(found.vectors[2], each.mean(0), atol=1e-5)
    assert found.mask.tolist() == [True, False, True]
    assert [row["images"] for row in table(uri, storage)] == [1, 0, 3]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_is_gone_from_the_store_ends_extraction_in_one_sentence(
    publish: Publish, storage: Storage, config: ExtractConfig, png: Png, workers: int
) -> None:
    uri = publish([(storage.put_blob(png(0)),), ("0" * 64,)])
    with pytest.raises(UserError, match="0000: this file is not in the store any more — run with --no-cache"):
        extract(uri, "visual", config.model_copy(update={"workers": workers}), storage)


def test_texts_are_name_and_description(publish: Publish, storage: Storage) -> None:
    names, texts = ["Oslo", "Bergen", " ", ""], ["capital", None, "only a text", " "]
    uri = extract(publish([()] * 4, names, texts), "textual", ExtractConfig(), storage).uri
    expected = create(SBERTConfig()).encode(["Oslo: capital", "Bergen", "only a text"])
    found = load_features(uri, [f"e{index}" for index in range(4)], storage)
    np.testing.assert_allclose(found.vectors[:3], expected, atol=1e-5)
    assert [(row["status"], row["error"]) for row in table(uri, storage)] == [("ok", "")] * 3 + [("missing", "no text")]


def test_nothing_is_computed_twice(
    publish: Publish, storage: Storage, config: ExtractConfig, png: Png, counted: list[int]
) -> None:
    blobs = [storage.put_blob(png(number)) for number in range(101)]
    hundred = [(blob,) for blob in blobs[:100]]
    graph = publish(hundred)
    first = extract(graph, "visual", config, storage)
    assert sum(counted) == 100
    assert extract(graph, "visual", config, storage) == first
    assert sum(counted) == 100, "unchanged data"
    added = extract(publish([*hundred, (blobs[100],)]), "visual", config, storage)
    assert sum(counted) == 101, "one per cent more entities"
    changed = extract(publish([(blobs[100],), *hundred[1:]]), "visual", config, storage)
    removed = extract(publish(hundred[:50]), "visual", config, storage)
    assert sum(counted) == 101, "known content, other entities"
    assert len({stored.digest for stored in (first, added, changed, removed)}) == 4
    keys = [f"e{index}" for index in range(50)]
    for stored in (first, removed):
        np.testing.assert_array_equal(load_features(stored.uri, keys, storage).vectors,
                                      load_features(first.uri, keys, storage).vectors)  # fmt: skip
    extract(graph, "visual", config.model_copy(update={"dtype": "float16"}), storage)
    assert sum(counted) == 201, "another spec"


def test_shared_images_are_encoded_once(
    publish: Publish, storage: Storage, config: ExtractConfig, png: Png, counted: list[int]
) -> None:
    one, two = (storage.put_blob(png(number)) for number in range(2))
    uri = extract(publish([(one,), (one,), (one, two), (two, one), (two,)]), "visual", config, storage).uri
    assert sum(counted) == 2
    vectors = load_features(uri, [f"e{index}" for index in range(5)], storage).vectors
    np.testing.assert_allclose(vectors[2], (vectors[0] + vectors[4]) / 2, atol=1e-6)


def test_bad_images_get_a_status_row_each(
    publish: Publish, storage: Storage, config: ExtractConfig, png: Png, capsys: pytest.CaptureFixture[str]
) -> None:
    good = png(0)
    bad = [b"", b"text", good[:-300], b"GIF89a", "naïve".encode("latin-1")]
    images = [(storage.put_blob(data),) for data in [good, *bad]]
    images += [(images[0][0], images[1][0]), ()]
    uri = extract(publish(images), "visual", config, storage).uri
    rows = table(uri, storage)
    assert [row["status"] for row in rows] == ["ok", *["failed"] * 5, "partial", "missing"]
    assert all("image " in row["error"] for row in rows[1:7])
    found = load_features(uri, [row["key"] for row in rows], storage)
    assert found.mask.tolist() == [True, *[False] * 5, True, False]
    np.testing.assert_array_equal(found.vectors[6], found.vectors[0])
    told = capsys.readouterr().err
    assert "visual features: 5 failed, 1 missing, 1 ok, 1 partial · beit, pooled d = 16, weights tiny-beit" in told


def test_too_large_images_fail_by_the_recipes_limit(
    publish: Publish, storage: Storage, config: ExtractConfig, png: Png
) -> None:
    graph = publish([(storage.put_blob(png(0)),)])
    strict = config.model_copy(update={"visual": config.visual.model_copy(update={"max_pixels": 599})})
    uri = extract(graph, "visual", strict, storage).uri
    assert "over the limit of 599" in table(uri, storage)[0]["error"]
    assert table(extract(graph, "visual", config, storage).uri, storage)[0]["status"] == "ok"


def test_bad_texts_get_a_status_row_each(publish: Publish, storage: Storage) -> None:
    texts = ["x" * 100_000, "word " * 20_000, "\0\1\2", "\ufffd\u202e", "🏳️‍🌈" * 50]
    uri = extract(publish([()] * 5, texts=texts), "textual", ExtractConfig(), storage).uri
    rows = table(uri, storage)
    assert [row["status"] for row in rows] == ["ok"] * 5
    assert rows[1]["error"] == "cut to 256 tokens"
    assert load_features(uri, [row["key"] for row in rows], storage).vectors.isfinite().all()


def test_random_weights_are_called_random(
    publish: Publish, storage: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    random = ExtractConfig(textual=SBERTConfig(weights="random", seed=5))
    uri = step(publish([()]), "textual", random, storage).uri
    assert "sbert, pooled d = 384, random weights, seed 5" in capsys.readouterr().err
    assert Manifest.read(uri, storage).encoder["weights"] == "random"
    (part,) = Path(uri).parent.glob("part-*")
    assert pq.read_schema(part).metadata[b"weights"] == b"random"
    (run,) = tracking.client().search_runs([tracking.experiment_id("mmkgc")])
    assert run.data.params["weights"] == "random"
    assert run.data.metrics.keys() == {"textual/ok", "process/cpu_seconds", "process/peak_memory_gib"}
    assert run.data.metrics["textual/ok"] == 1
    assert run.inputs.dataset_inputs[0].dataset.name == "textual features"


def test_token_sequences_of_images_and_texts(
    publish: Publish, storage: Storage, config: ExtractConfig, png: Png, tiny_beit: Path
) -> None:
    blobs = [storage.put_blob(png(number)) for number in range(2)]
    tokens = ExtractConfig(
        visual=BEiTConfig(weights=str(tiny_beit), output="tokens"), textual=SBERTConfig(output="tokens"), batch_size=4
    )
    graph = publish([(blobs[0],), tuple(blobs), ()], ["Oslo", "a longer name", "x"])
    visual = load_tokens(extract(graph, "visual", tokens, storage).uri, ["e0", "e1", "e2"], 6, storage)
    assert visual.mask.sum(1).tolist() == [4, 6, 0], "2 × 2 patches an image, two images cut to six"
    encoder = create(tokens.encoder("visual"))
    expected = encoder.sequences(encoder.prepare([decode(png(number)) for number in range(2)]))
    np.testing.assert_allclose(visual.vectors[1], np.concatenate(expected)[:6], atol=1e-5)
    textual = load_tokens(extract(graph, "textual", tokens, storage).uri, ["e0", "e1"], 8, storage)
    assert textual.mask.sum(1).tolist() == [3, 5], "words between a begin and an end mark"


def test_workers_change_nothing(publish: Publish, storage: Storage, config: ExtractConfig, png: Png) -> None:
    graph = publish([(storage.put_blob(png(number)),) for number in range(30)])
    two = extract(graph, "visual", config, storage)
    for file in Path(two.uri).parent.iterdir():
        file.unlink()
    assert extract(graph, "visual", config.model_copy(update={"workers": 0}), storage) == two


KILLED = """
import sys
from mmkgc.components.encoders.beit import BEiTConfig
from mmkgc.components.extract.config import ExtractConfig
from mmkgc.components.extract.extract import make_features
from mmkgc.components.extract.extract import extract as step
from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.feature_store import writer
from mmkgc.feature_store.opening import open_storage
writer.PART_ROWS = 8
config = ExtractConfig(visual=BEiTConfig(weights=sys.argv[2]), batch_size=4, workers=1)
make_features(MMKG.load(open_storage().fetch(sys.argv[1])), "visual", config, open_storage())
"""


def test_a_killed_extraction_is_continued(
    publish: Publish, storage: Storage, config: ExtractConfig, png: Png, counted: list[int], tiny_beit: Path
) -> None:
    count = 600
    graph = publish([(storage.put_blob(png(number)),) for number in range(count)])
    process = subprocess.Popen([sys.executable, "-c", KILLED, graph, str(tiny_beit)])
    while process.poll() is None and len([f for f in storage.files("features/") if "part-" in f.path]) < 3:
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert not [file for file in storage.files("features/") if "manifest" in file.path], "killed too late for this test"
    uri = extract(graph, "visual", config, storage).uri
    assert 0 < sum(counted) <= count - 24
    assert load_features(uri, [f"e{index}" for index in range(count)], storage).mask.all()


@pytest.fixture
def divided(config: ExtractConfig, monkeypatch: pytest.MonkeyPatch) -> ExtractConfig:
    """Three shards of four pictures a part; MLflow is left out."""
    monkeypatch.setattr(writer, "PART_ROWS", 4)
    monkeypatch.setattr("mmkgc.components.extract.extract.step_run", lambda *args, **named: nullcontext())
    return config.model_copy(update={"shards": 3, "workers": 0})


def test_shards_divide_the_work_and_the_step_after_them_commits(
    publish: Publish, storage: Storage, divided: ExtractConfig, png: Png, counted: list[int]
) -> None:
    """An entity's picture may be another's too: it is encoded by one shard."""
    graph = publish([(storage.put_blob(png(number % 20)),) for number in range(30)])
    shares = []
    for shard in (1, 2, 3):
        extract_shard(graph, "visual", divided, shard, storage)
        shares.append(sum(counted) - sum(shares))
    assert sum(shares) == 20
    assert all(shares)
    assert not [file for file in storage.files("features/") if "manifest" in file.path]
    stored = extract(graph, "visual", divided, storage)
    assert sum(counted) == 20
    alone = open_storage(str(Path(storage.root) / "alone"))
    for number in range(20):
        alone.put_blob(png(number))
    keys = [f"e{index}" for index in range(30)]
    one = make_features(MMKG.load(storage.fetch(graph)), "visual", divided.undivided(), alone)
    found, expected = (load_features(each.uri, keys, place) for each, place in ((stored, storage), (one, alone)))
    np.testing.assert_allclose(found.vectors, expected.vectors, atol=1e-5)


def test_what_a_lost_shard_leaves_is_encoded_by_the_step(
    publish: Publish, storage: Storage, divided: ExtractConfig, png: Png, counted: list[int]
) -> None:
    graph = publish([(storage.put_blob(png(number)),) for number in range(30)])
    for shard in (1, 3):
        extract_shard(graph, "visual", divided, shard, storage)
    before = sum(counted)
    uri = extract(graph, "visual", divided, storage).uri
    assert 0 < before < sum(counted) == 30
    assert load_features(uri, [f"e{index}" for index in range(30)], storage).mask.all()


def test_shards_and_ray_are_not_combined() -> None:
    with pytest.raises(ValidationError, match="choose one"):
        ExtractConfig(shards=2, engine="ray")


def test_vectors_made_elsewhere_stand_in_for_an_encoder(publish: Publish, storage: Storage, tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    np.save(tmp_path / "visual.npy", vectors)
    graph = publish([()] * 3)
    config = ExtractConfig(visual=ImportedConfig(source=str(tmp_path / "visual.npy"), made_by="VGG-16"))
    stored = extract(graph, "visual", config, storage)
    np.testing.assert_array_equal(load_features(stored.uri, ["e0", "e1", "e2"], storage).vectors, vectors)
    by_digest = ExtractConfig(visual=ImportedConfig(source=stored.digest[:10]))
    assert extract(graph, "visual", by_digest, storage) == stored
    for source, expected in {"nowhere": "no committed manifest", "nowhere.npy": "no such file"}.items():
        with pytest.raises(UserError, match=expected):
            extract(graph, "visual", ExtractConfig(visual=ImportedConfig(source=source)), storage)
    with pytest.raises(UserError, match=r"extract.visual: the recipe names no encoder"):
        extract(graph, "visual", ExtractConfig(visual=None), storage)


def test_the_network_is_not_built_for_known_features(publish: Publish, storage: Storage, config: ExtractConfig,
                                                     png: Png, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    graph = publish([(storage.put_blob(png(1)),)])
    first = extract(graph, "visual", config, storage)
    monkeypatch.setattr(Encoder, "network", property(lambda self: pytest.fail("the network was built")))
    assert extract(graph, "visual", config, storage) == first


def test_one_colour_images_are_no_zero_vectors(publish: Publish, storage: Storage, config: ExtractConfig,
                                               tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    Image.new("RGB", (5, 5)).save(tmp_path / "black.png")
    graph = publish([(storage.put_blob((tmp_path / "black.png").read_bytes()),)])
    monkeypatch.setattr(Encoder, "vectors", lambda self, batch: np.zeros((len(batch), 16), np.float32))
    uri = extract(graph, "visual", config, storage).uri
    assert table(uri, storage)[0]["status"] == "failed"
    assert "no finite, non-zero vector" in table(uri, storage)[0]["error"]


def test_numbers_are_learnt_from_the_training_entities_alone(storage: Storage, tmp_path: Path) -> None:
    keys = tuple(f"e{index}" for index in range(6))
    numbers = tuple((("area", float(index)),) if index < 5 else () for index in range(6))
    nothing = no_triples()

    def features(train: list[list[int]]) -> Stored:
        graph = Graph(Vocabulary(keys, keys), Vocabulary(("r",), ("r",)), torch.tensor(train), nothing, nothing)
        return make_features(MMKG(graph, {"numeric": numbers}), "numeric", config, storage)

    config = ExtractConfig(numeric=LiteralsConfig(rare=2, bins=2))
    some, others = features([[0, 0, 2], [2, 0, 4]]), features([[0, 0, 1], [2, 0, 3]])
    learnt = Manifest.read(some.uri, storage).encoder["options"]["fitted"]["attributes"]["area"]["values"]
    assert list(learnt) == [0.0, 2.0, 4.0]
    assert some.digest != others.digest, "other training entities, another identity"
    found = load_features(some.uri, keys, storage)
    assert found.mask.tolist() == [True] * 5 + [False]
    assert found.vectors[1, :4].tolist() == pytest.approx([1, 0.25, 0.75, 0.25])
    assert table(some.uri, storage)[5]["error"] == "no number"
    assert features([[0, 0, 2], [2, 0, 4]]) == some


def test_a_step_of_numbers_logs_its_settings_but_not_what_it_learnt(storage: Storage, tmp_path: Path) -> None:
    keys = ("e0", "e1")
    graph = Graph(
        Vocabulary(keys, keys), Vocabulary(("r",), ("r",)), torch.tensor([[0, 0, 1]]), no_triples(), no_triples()
    )
    MMKG(graph, {"numeric": ((("http://a?b=c", 1.0),), ())}).save(tmp_path / "graph")
    step(storage.publish(tmp_path / "graph", "graphs").uri, "numeric", ExtractConfig(numeric=LiteralsConfig()), storage)
    (run,) = tracking.client().search_runs([tracking.experiment_id("mmkgc")])
    assert run.info.run_name == "extract numeric"
    assert run.data.params["options.bins"] == "8"
    assert not [name for name in run.data.params if "fitted" in name]
