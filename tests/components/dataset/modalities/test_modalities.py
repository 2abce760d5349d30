"""What every modality must be: the template tests, which a new one passes with an entry in ``EXAMPLES``."""

from importlib import resources
from pathlib import Path
from typing import get_args

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.dataset.modalities import MODALITIES
from mmkgc.components.dataset.modalities.base import Widget
from mmkgc.components.encoders.registry import encoders
from mmkgc.components.evaluate.slices import modality_labels
from mmkgc.components.kge.graph import Graph, Vocabulary, no_triples
from mmkgc.serving.api.protocol import ErrorCode, Query, QueryError, parse_query

EXAMPLES = {"textual": "a town", "visual": "aGVsbG8=", "numeric": {"population": 5}}


@pytest.fixture
def graph() -> Graph:
    return Graph(
        Vocabulary(("a", "b"), ("A", "B")), Vocabulary(("r",), ("r",)), no_triples(), no_triples(), no_triples()
    )


def test_every_file_of_the_folder_is_one() -> None:
    assert set(MODALITIES) >= {"numeric", "textual", "visual"}
    assert set(EXAMPLES) == set(MODALITIES), "each has an example: the value of its field in a query"


def test_the_page_has_every_widget() -> None:
    page = resources.files("mmkgc.serving.api.gateway") / "explorer" / "unseen.js"
    assert all(f"\n  {widget}(" in page.read_text() for widget in get_args(Widget))


@pytest.mark.parametrize("name", MODALITIES)
def test_a_modality_says_everything_that_is_asked_of_it(name: str) -> None:
    modality = MODALITIES[name]
    assert modality.name == name
    assert (modality.column is None) != (modality.file is None), "its content stands in one place"
    assert encoders.lookup(modality.encoder).modality == name
    assert ErrorCode(modality.refusal)
    assert modality.widget in get_args(Widget)
    assert (type(modality).__doc__ or "").strip()


@pytest.mark.parametrize("attribute", ["noun", "field", "option", "stored"])
def test_no_two_modalities_are_called_alike(attribute: str) -> None:
    assert len({getattr(modality, attribute) for modality in MODALITIES.values()}) == len(MODALITIES)


@pytest.mark.parametrize("name", MODALITIES)
def test_an_entity_without_content_has_none_wherever_it_is_asked(name: str, graph: Graph, tmp_path: Path) -> None:
    modality = MODALITIES[name]
    read = modality.read(tmp_path, {"key": graph.entities.keys})
    assert list(read) == [modality.nothing] * 2
    assert modality.items(" ", modality.nothing) == ()
    mmkg = MMKG(graph, {name: read})
    assert mmkg.has(name) == [False, False]
    mmkg.save(tmp_path / "graph")
    assert MMKG.load(tmp_path / "graph").content(name) == tuple(read)


@pytest.mark.parametrize("name", MODALITIES)
def test_a_query_may_describe_an_entity_by_it(name: str) -> None:
    modality = MODALITIES[name]
    query = Query.model_validate({"head": {modality.field: EXAMPLES[name]}, "relation": "r"})
    assert list(query.head.contents) == [name]
    fields = ", ".join(modality.field for modality in MODALITIES.values())
    with pytest.raises(QueryError, match=f"one of {fields}"):
        parse_query({"head": {modality.field: None}, "relation": "r"})


def test_graphs_of_older_versions_have_no_numbers(graph: Graph, tmp_path: Path) -> None:
    MMKG(graph, {"textual": ("a town", None)}).save(tmp_path)
    old = pq.read_table(tmp_path / "entities.parquet").select(["key", "name", "description", "type", "images"])
    assert old.schema.field("images").type == pa.list_(pa.string())
    pq.write_table(old, tmp_path / "entities.parquet")
    loaded = MMKG.load(tmp_path)
    assert loaded.content("textual") == ("a town", None)
    assert loaded.content("numeric") == ((), ())


def test_slices_are_named_by_the_modalities_that_entities_have(graph: Graph) -> None:
    import torch

    mmkg = MMKG(graph, {"numeric": ((("area", 1.0),), ()), "textual": ("x", "y")})
    masks = {name: torch.tensor(mmkg.has(name)) for name in ("numeric", "textual")}
    assert list(modality_labels(masks, 2)) == ["numeric + textual", "textual"]
