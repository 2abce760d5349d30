"""A bundle gives back the same model, holds no pickle, and has the same bytes for the same model."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mmkgc.components.kge.bundle import FORMAT, Bundle
from mmkgc.components.kge.fusions import FUSIONS
from mmkgc.components.kge.graph import Graph
from mmkgc.components.kge.model import Model
from mmkgc.components.runtime import digests
from mmkgc.components.runtime.errors import UserError


@torch.no_grad()  # a transformer has another way to compute with gradients, which differs in the last bit
@pytest.mark.parametrize("fusion", FUSIONS.classes())
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"missing": "random"},
        {"structure_dropout": 0.3, "fine_tune": True},
        {"structure_dropout": 0.3, "missing_structure": "predicted"},
    ],
    ids=str,
)
def test_the_same_model_comes_back(
    fusion: str, settings: dict[str, object], graph: Graph, make_model: Callable[..., Model], tmp_path: Path
) -> None:
    model = make_model(fusion=fusion, reciprocal=True, **settings).eval()
    about = {"encoders": {"visual": {"encoder": "toy"}}, "config": {"seed": 1}, "provenance": {"x": [1]}}
    squares = {"relations.relation": torch.rand(3)}
    bundle = Bundle.of(model, graph, **about, squares=squares)
    bundle.save(tmp_path / "bundle")
    loaded = Bundle.load(tmp_path / "bundle")
    assert torch.equal(loaded.model.score_triples(graph.test), model.score_triples(graph.test))
    if len(model.entities.modalities) > 1:
        raw = {model.entities.modalities[1]: torch.randn(2, 7)}
        relation = torch.tensor([0, 1])
        ours, theirs = (
            m.score_queries([(m.entities.encode_new(raw), relation, "tail")])[0] for m in (model, loaded.model)
        )
        torch.testing.assert_close(ours, theirs)  # MKL's last digit depends on where a mapped matrix begins
    assert (loaded.entities, loaded.relations, loaded.types) == (graph.entities, graph.relations, None)
    assert torch.equal(loaded.train, graph.train)
    assert set(loaded.known) == {tuple(triple) for triple in graph.all_triples.tolist()}
    assert {name: getattr(loaded, name) for name in about} == about
    torch.testing.assert_close(loaded.squares, squares, rtol=0, atol=0)


def test_the_same_model_has_the_same_bytes_and_none_are_pickled(
    graph: Graph, make_model: Callable[..., Model], tmp_path: Path
) -> None:
    for name in ("one", "two"):
        Bundle.of(make_model(), graph).save(tmp_path / name)
    Bundle.load(tmp_path / "one").save(tmp_path / "three")
    assert len({digests.of_folder(tmp_path / name) for name in ("one", "two", "three")}) == 1
    assert {path.suffix for path in (tmp_path / "one").iterdir()} == {".json", ".safetensors"}


@pytest.mark.slow
def test_loading_does_not_wait_for_the_compiler_of_pytorch(
    graph: Graph, make_model: Callable[..., Model], tmp_path: Path
) -> None:
    """Random numbers and quotients on the meta device import it: two seconds of every query from the command line."""
    Bundle.of(make_model(fusion="adamf", structure_dropout=0.3), graph).save(tmp_path / "bundle")
    imports = "import sys; from pathlib import Path; from mmkgc.components.kge.bundle import Bundle"
    script = f"{imports}; Bundle.load(Path(sys.argv[1])); sys.exit('torch._dynamo' in sys.modules)"
    subprocess.run([sys.executable, "-c", script, tmp_path / "bundle"], check=True)


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no model bundle"):
        Bundle.load(tmp_path)


def test_another_format_is_refused(graph: Graph, make_model: Callable[..., Model], tmp_path: Path) -> None:
    Bundle.of(make_model(), graph).save(tmp_path / "bundle")
    path = tmp_path / "bundle" / "bundle.json"
    path.write_text(path.read_text().replace(f'"format": {FORMAT}', '"format": 99'))
    with pytest.raises(UserError, match="format 99"):
        Bundle.load(tmp_path / "bundle")


def test_a_bundle_of_before_feature_scales_keeps_its_scores(
    graph: Graph, make_model: Callable[..., Model], tmp_path: Path
) -> None:
    model = make_model(feature_scale="raw").eval()
    Bundle.of(model, graph).save(tmp_path / "bundle")
    path = tmp_path / "bundle" / "bundle.json"
    description = json.loads(path.read_text()) | {"format": 1}
    del description["model"]["feature_scale"]
    path.write_text(json.dumps(description))
    loaded = Bundle.load(tmp_path / "bundle").model
    assert torch.equal(loaded.score_triples(graph.test), model.score_triples(graph.test))


@pytest.mark.parametrize("settings", [{}, {"structure_dropout": 0.3}, {"fine_tune": True}], ids=str)
def test_a_bundle_of_format_2_keeps_its_scores(
    settings: dict[str, object], graph: Graph, make_model: Callable[..., Model], tmp_path: Path
) -> None:
    """Release 0.1.0 wrote it: the entity table held features and masks, and there was one kind of entity encoder."""
    model = make_model(**settings).eval()
    folder = tmp_path / "bundle"
    Bundle.of(model, graph).save(folder)
    tensors = load_file(folder / "model.safetensors")
    renamed = {f"entities.{name}" if name.startswith("features.") else name: t.clone() for name, t in tensors.items()}
    renamed["entities.has_structure"] = renamed.pop("seen")
    save_file(renamed, folder / "model.safetensors")
    description = json.loads((folder / "bundle.json").read_text()) | {"format": 2}
    del description["model"]["encoder"], description["model"]["structure"], description["files"]
    (folder / "bundle.json").write_text(json.dumps(description))
    loaded = Bundle.load(folder).model
    assert torch.equal(loaded.score_triples(graph.test), model.score_triples(graph.test))


@pytest.mark.parametrize("file", ["model.safetensors", "triples.safetensors", "vocabulary.json"])
def test_a_bundle_that_was_changed_is_refused(
    file: str, graph: Graph, make_model: Callable[..., Model], tmp_path: Path
) -> None:
    Bundle.of(make_model(), graph).save(tmp_path / "bundle")
    _flip(tmp_path / "bundle" / file)
    with pytest.raises(UserError, match=rf"{file}: this file of the bundle was changed after it was saved"):
        Bundle.load(tmp_path / "bundle")


def test_a_published_bundle_must_be_what_its_name_says(
    graph: Graph, make_model: Callable[..., Model], tmp_path: Path
) -> None:
    Bundle.of(make_model(), graph, config={"seed": 1}).save(tmp_path / "bundle")
    published = (tmp_path / "bundle").rename(tmp_path / digests.of_folder(tmp_path / "bundle"))
    assert Bundle.load(published).config == {"seed": 1}
    described = (published / "bundle.json").read_text()
    (published / "bundle.json").write_text(described.replace('"seed": 1', '"seed": 2'))
    with pytest.raises(UserError, match="this bundle was changed after it was published"):
        Bundle.load(published)


def test_a_bundle_of_before_digests_were_listed_still_loads(
    graph: Graph, make_model: Callable[..., Model], tmp_path: Path
) -> None:
    Bundle.of(make_model(), graph).save(tmp_path / "bundle")
    described = json.loads((tmp_path / "bundle" / "bundle.json").read_text())
    del described["files"]
    (tmp_path / "bundle" / "bundle.json").write_text(json.dumps(described))
    assert Bundle.load(tmp_path / "bundle").entities == graph.entities
    (tmp_path / "bundle" / "bundle.json").write_text("")
    with pytest.raises(UserError, match="this bundle is damaged"):
        Bundle.load(tmp_path / "bundle")


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
