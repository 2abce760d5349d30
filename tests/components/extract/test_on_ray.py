"""Extraction by Ray's actors gives the bits that it gives without."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.encoders.beit import BEiTConfig
from mmkgc.components.encoders.literals import LiteralsConfig
from mmkgc.components.extract.config import ExtractConfig
from mmkgc.components.extract.extract import make_features
from mmkgc.components.kge.graph import Graph, Vocabulary, no_triples
from mmkgc.components.runtime.errors import UserError
from mmkgc.feature_store.opening import open_storage
from mmkgc.feature_store.storage import Storage

ray = pytest.importorskip("ray")
COUNT = 23


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster of two workers on this machine, whose processes have one thread, as the tests have."""
    environment = {"env_vars": {"OMP_NUM_THREADS": "1"}}
    ray.init(num_cpus=2, log_to_driver=False, include_dashboard=False, runtime_env=environment)
    yield
    ray.shutdown()


@pytest.fixture
def stores(tmp_path: Path) -> list[Storage]:
    return [open_storage(str(tmp_path / name)) for name in ("here", "ray")]


def graph(contents: dict[str, tuple]) -> MMKG:
    keys = tuple(f"e{index}" for index in range(COUNT))
    nothing = no_triples()
    train = nothing.new_tensor([[index, 0, (index + 1) % COUNT] for index in range(COUNT)])
    vocabularies = Vocabulary(keys, keys), Vocabulary(("r",), ("r",))
    return MMKG(Graph(*vocabularies, train=train, valid=nothing, test=nothing), contents)


@pytest.mark.slow
def test_images_numbers_and_failures_are_the_same_bits(
    cluster: None, stores: list[Storage], tiny_beit: Path, png: Callable[[int], bytes]
) -> None:
    images = []
    for store in stores:
        digests = [store.put_blob(png(number)) for number in range(COUNT)]
        broken = store.put_blob(b"no picture")
        images = [(digest,) if place % 4 else (digest, broken) for place, digest in enumerate(digests)]
    numbers = tuple((("size", float(place)),) for place in range(COUNT))
    mmkg = graph({"visual": tuple(images), "numeric": numbers})
    settings = ExtractConfig(
        visual=BEiTConfig(weights=str(tiny_beit)), numeric=LiteralsConfig(rare=1), batch_size=4, workers=0
    )
    for modality in ("numeric", "visual"):
        found = [
            make_features(mmkg, modality, settings.model_copy(update={"engine": engine}), store)
            for engine, store in zip(("local", "ray"), stores, strict=True)
        ]
        assert found[0].digest == found[1].digest
    again = make_features(mmkg, "visual", settings.model_copy(update={"engine": "ray"}), stores[1])
    assert again == found[1]


@pytest.mark.slow
def test_a_missing_file_is_said_in_one_sentence(
    cluster: None, stores: list[Storage], tiny_beit: Path, png: Callable[[int], bytes]
) -> None:
    images = tuple((stores[1].put_blob(png(0)),) if place else ("0" * 64,) for place in range(COUNT))
    settings = ExtractConfig(visual=BEiTConfig(weights=str(tiny_beit)), batch_size=4, engine="ray")
    with pytest.raises(UserError, match="0000: this file is not in the store any more"):
        make_features(graph({"visual": images}), "visual", settings, stores[1])
