from pathlib import Path

import pytest
import torch

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.kge.graph import Graph, Vocabulary
from mmkgc.components.runtime.digests import of_folder


def small_graph(types: tuple[str, ...] | None) -> MMKG:
    graph = Graph(
        entities=Vocabulary(("no", "se", "oslo"), ("Norway", "Sweden", "Oslo")),
        relations=Vocabulary(("borders", "capital"), ("borders", "has capital")),
        train=torch.tensor([[0, 0, 1], [0, 1, 2]]),
        valid=torch.tensor([[1, 0, 0]]),
        test=torch.tensor([[1, 1, 2]]),
        types=types,
    )
    contents = {
        "textual": ("a kingdom", None, "a city"),
        "visual": (("a" * 64, "b" * 64), (), ()),
        "numeric": ((("area", 1.5), ("area", 2.0), ("founded", 1814.375)), (), (("area", -3.0),)),
    }
    return MMKG(graph, contents, {"name": "Grünland", "leakage": 0})


@pytest.mark.parametrize("types", [None, ("country", "country", "city")])
def test_a_saved_graph_is_loaded_as_it_was(tmp_path: Path, types: tuple[str, ...] | None) -> None:
    saved = small_graph(types)
    saved.save(tmp_path)
    loaded = MMKG.load(tmp_path)

    assert (loaded.contents, loaded.info) == (saved.contents, saved.info)
    assert (loaded.graph.entities, loaded.graph.relations) == (saved.graph.entities, saved.graph.relations)
    assert loaded.graph.types == types
    for split in ("train", "valid", "test", "known"):
        assert torch.equal(getattr(loaded.graph, split), getattr(saved.graph, split))
        assert getattr(loaded.graph, split).dtype == torch.int64


def test_the_same_graph_has_the_same_digest(tmp_path: Path) -> None:
    for name in ("one", "two"):
        small_graph(None).save(tmp_path / name)
    assert of_folder(tmp_path / "one") == of_folder(tmp_path / "two")
