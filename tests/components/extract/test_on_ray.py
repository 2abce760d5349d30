"""Extraction by Ray's actors gives the bits that it gives without."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.encoders.beit import BEiTConfig
from mmkgc.components.encoders.literals import LiteralsConfig
from mmkgc.components.extract import encode
from mmkgc.components.extract.config import ExtractConfig
from mmkgc.components.extract.extract import make_features
from mmkgc.components.extract.on_ray import encoded_on_ray
from mmkgc.components.kge.graph import Graph, Vocabulary, no_triples
from mmkgc.components.runtime.errors import UserError
from mmkgc.feature_store.opening import open_storage
from mmkgc.feature_store.storage import Storage

ray = pytest.importorskip("ray", reason="pip install 'mmkgc[ray]' (240 MB), which is no part of [dev]")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
COUNT = 23
Png = Callable[[int], bytes]


@pytest.fixture(scope="module", autouse=True)
def surroundings() -> Iterator[None]:
    """Ray's processes import what the tests import, and write no token to the home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        yield


@pytest.fixture(scope="module")
def cluster(surroundings: None) -> Iterator[None]:
    """A cluster of two workers on this machine."""
    ray.init("local", num_cpus=2, object_store_memory=100 << 20, log_to_driver=False, include_dashboard=False)
    yield
    ray.shutdown()


@pytest.fixture
def stores(tmp_path: Path) -> list[Storage]:
    return [open_storage(str(tmp_path / name)) for name in ("here", "ray")]


def graph(contents: dict[str, tuple]) -> MMKG:
    (count,) = {len(content) for content in contents.values()}
    keys = tuple(f"e{index}" for index in range(count))
    nothing = no_triples()
    train = nothing.new_tensor([[index, 0, (index + 1) % count] for index in range(count)])
    vocabularies = Vocabulary(keys, keys), Vocabulary(("r",), ("r",))
    return MMKG(Graph(*vocabularies, train=train, valid=nothing, test=nothing), contents)


def settings(tiny_beit: Path, **others: Any) -> ExtractConfig:
    given = {"visual": BEiTConfig(weights=str(tiny_beit)), "batch_size": 4, "workers": 0, "engine": "ray"}
    return ExtractConfig(**given | others)


def test_images_texts_numbers_and_failures_are_the_same_bits(
    cluster: None, stores: list[Storage], tiny_beit: Path, png: Png
) -> None:
    images = []
    for store in stores:
        digests = [store.put_blob(png(number)) for number in range(COUNT)]
        broken = store.put_blob(b"no picture")
        images = [(digest,) if place % 4 else (digest, broken) for place, digest in enumerate(digests)]
        images[7] = (broken,)
    numbers = tuple((("size", float(place)),) for place in range(COUNT))
    texts = tuple("word " * (3 * place + 1) for place in range(COUNT))
    mmkg = graph({"visual": tuple(images), "numeric": numbers, "textual": texts})
    for modality in ("numeric", "textual", "visual"):
        found = []
        for engine, store in zip(("local", "ray"), stores, strict=True):
            chosen = settings(tiny_beit, numeric=LiteralsConfig(rare=1), engine=engine)
            found.append(make_features(mmkg, modality, chosen, store))
            parts = [[(f.path, f.bytes) for f in store.files("features/") if "part-" in f.path] for store in stores]
        assert found[0].digest == found[1].digest
        assert parts[0] == parts[1], "parts are named by their bytes"


def test_only_new_contents_go_to_the_actors(
    cluster: None, stores: list[Storage], tiny_beit: Path, png: Png, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def counting(batches: Sequence[Sequence[Any]], *others: Any) -> Iterator[Any]:
        asked.append(sum(map(len, batches)))
        return encoded_on_ray(batches, *others)

    monkeypatch.setattr(encode, "encoded_on_ray", counting)
    images = [(stores[1].put_blob(png(number)),) for number in range(COUNT)]
    for count in (COUNT - 1, COUNT - 1, COUNT):
        make_features(graph({"visual": tuple(images[:count])}), "visual", settings(tiny_beit), stores[1])
    assert asked == [COUNT - 1, 1], "the second time nothing, then one image more"


def test_more_actors_than_processors_and_than_batches(cluster: None) -> None:
    for actors, count in ((5, 12), (5, 1)):
        batches = [[number, -number] for number in range(count)]
        found = list(encoded_on_ray(batches, _doubling, actors))
        assert found == [(item, (None, str(2 * item))) for batch in batches for item in batch]


def _doubling() -> Callable:
    return lambda batch: [(None, str(2 * item)) for item in batch]


def _dying() -> Callable:
    return lambda batch: os._exit(1)


def _refusing() -> Callable:
    raise UserError("weights", "not on this machine")


def test_what_an_actor_cannot_do_ends_extraction(cluster: None) -> None:
    with pytest.raises(UserError, match="weights: not on this machine"):
        list(encoded_on_ray([[1]], _refusing, 1))
    with pytest.raises(ray.exceptions.RayError):
        list(encoded_on_ray([[1]], _dying, 1))


def test_a_missing_file_is_said_in_one_sentence(
    cluster: None, stores: list[Storage], tiny_beit: Path, png: Png
) -> None:
    images = tuple((stores[1].put_blob(png(0)),) if place else ("0" * 64,) for place in range(COUNT))
    with pytest.raises(UserError, match="0000: this file is not in the store any more"):
        make_features(graph({"visual": images}), "visual", settings(tiny_beit), stores[1])


INTERRUPTED = """
import signal, sys
from mmkgc.feature_store import writer
from tests.components.extract.test_on_ray import graph, make_features, open_storage, settings
writer.PART_ROWS = 8
signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background, a shell switches it off
images = tuple((digest,) for digest in open(sys.argv[2]).read().split())
make_features(graph({"visual": images}), "visual", settings(sys.argv[1], actors=1), open_storage(sys.argv[3]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_extraction_is_continued(
    stores: list[Storage], tiny_beit: Path, png: Png, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    store, count = stores[1], 1200
    digests = [store.put_blob(png(number)) for number in range(count)]
    (tmp_path / "digests").write_text("\n".join(digests))
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tiny_beit), str(tmp_path / "digests"), store.root]
    )
    while process.poll() is None and len([f for f in store.files("features/") if "part-" in f.path]) < 3:
        time.sleep(0.05)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    assert process.wait()
    assert not [file for file in store.files("features/") if "manifest" in file.path], "too late for this test"
    if number == signal.SIGINT:  # after SIGKILL, two helpers of Ray take a minute and a half
        _, remaining = psutil.wait_procs(family, timeout=30)
        assert family
        assert not remaining
    asked: list[int] = []
    monkeypatch.setattr(encode, "_encode", counting(asked))
    mmkg = graph({"visual": tuple((digest,) for digest in digests)})
    make_features(mmkg, "visual", settings(tiny_beit, engine="local"), store)
    assert 0 < sum(asked) <= count - 24, "three parts of eight rows were there"


def counting(asked: list[int]) -> Callable:
    """``_encode``, which notes how many items it gets."""
    encoding = encode._encode

    def counted(encoder: Any, prepared: Sequence) -> Any:
        asked.append(len(prepared))
        return encoding(encoder, prepared)

    return counted
