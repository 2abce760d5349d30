from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers import BeitConfig, BeitImageProcessorPil, BeitModel

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.encoders.weights import seeded
from mmkgc.components.kge.graph import Graph, Vocabulary, no_triples
from mmkgc.feature_store.storage import Storage, open_storage


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the user's own folders."""
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MMKGC_STORAGE", raising=False)
    return tmp_path / "home"


@pytest.fixture
def storage(home: Path) -> Storage:
    return open_storage()


@pytest.fixture(scope="session")
def tiny_beit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real BEiT, small enough to encode hundreds of images a second."""
    folder = tmp_path_factory.mktemp("weights") / "tiny-beit"
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    seeded(1, lambda: BeitModel(BeitConfig(**size, image_size=32), add_pooling_layer=False)).save_pretrained(folder)
    BeitImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def png() -> Callable[[int], bytes]:
    """Bytes of a picture that the number decides."""

    def picture(number: int) -> bytes:
        pixels = np.random.default_rng(number).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        data = BytesIO()
        Image.fromarray(pixels).save(data, "PNG")
        return data.getvalue()

    return picture


@pytest.fixture
def publish(storage: Storage, tmp_path: Path) -> Callable[..., str]:
    """Publishes a graph of the entities and returns its URI."""

    def published(
        images: Sequence[tuple[str, ...]], names: Sequence[str] | None = None, texts: Sequence[str | None] | None = None
    ) -> str:
        keys = tuple(f"e{index}" for index in range(len(images)))
        entities = Vocabulary(keys, tuple(names or [f"entity {key}" for key in keys]))
        graph = Graph(entities, Vocabulary(("r",), ("r",)), no_triples(), no_triples(), no_triples())
        folder = tmp_path / "graph"
        MMKG(graph, {"textual": tuple(texts or [None] * len(keys)), "visual": tuple(images)}).save(folder)
        return storage.publish(folder, "graphs").uri

    return published
