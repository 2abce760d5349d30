"""New entities of a trained model: ranked by their features, table and index only get further rows."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mmkgc.components.encoders.literals import Literals, LiteralsConfig
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.features import Features
from mmkgc.components.kge.graph import Graph, Vocabulary
from mmkgc.components.kge.model import Model, ModelConfig
from mmkgc.components.package.config import PackageConfig
from mmkgc.components.package.package import build, write_extras
from mmkgc.components.runtime.errors import UserError
from mmkgc.feature_store.opening import open_storage
from mmkgc.pipeline.cli.extend import read
from mmkgc.serving.engine.engine import Engine
from mmkgc.serving.engine.extend import extend
from mmkgc.serving.engine.index import FILE as INDEX
from mmkgc.serving.engine.tables import FILE as TABLES

N, R = 600, 3
SMALL = PackageConfig(index_from=100, index_queries=50, index_recall=0.3)


def make_bundle(structure_dropout: float) -> Bundle:
    """Entities with one number, by which they lie on a line."""
    torch.manual_seed(0)
    values = [[("size", float(index))] for index in range(N)]
    encoder = Literals(LiteralsConfig(rare=1)).fit(values)
    features = {"numeric": Features(torch.from_numpy(encoder.encode(values)), torch.ones(N, dtype=torch.bool))}
    keys = tuple(f"e{index}" for index in range(N))
    kinds = tuple(f"r{index}" for index in range(R))
    columns = [torch.randint(high, (3000,)) for high in (N, R, N)]
    triples = torch.stack(columns, dim=1).unique(dim=0)
    graph = Graph(Vocabulary(keys, keys), Vocabulary(kinds, kinds), triples, triples[:0], triples[:0])
    settings = ModelConfig(dimension=8, interaction="complex", fusion="sum", structure_dropout=structure_dropout)
    model = Model(settings, R, features, torch.ones(N, dtype=torch.bool), triples)
    for parameter in model.parameters():
        parameter.data.normal_()
    return Bundle.of(model.eval(), graph, encoders={"numeric": encoder.spec.model_dump()})


@pytest.fixture
def packaged(tmp_path: Path) -> Path:
    bundle = make_bundle(0.2)
    bundle.save(tmp_path / "packaged")
    write_extras(tmp_path / "packaged", bundle, SMALL)
    assert (tmp_path / "packaged" / INDEX).exists()
    return tmp_path / "packaged"


def dataset(folder: Path, *lines: str, numbers: str = "n0\tsize\t300\nn1\tsize\t12\n") -> Path:
    folder.mkdir()
    (folder / "entities.tsv").write_text("key\tname\n" + "".join(f"{line}\n" for line in lines))
    if numbers:
        (folder / "literals.tsv").write_text("key\tattribute\tvalue\n" + numbers)
    return folder


def test_new_entities_are_ranked_as_a_described_one_is(packaged: Path, tmp_path: Path) -> None:
    new = read(dataset(tmp_path / "new", "n0\tNewland", "n1\tSmalland"))
    extend(packaged, new, tmp_path / "extended")
    before, after = Engine.load(packaged), Engine.load(tmp_path / "extended")
    ask = {"relation": "r1", "tail": "e5", "k": 20}
    (described,), (named,) = (
        engine.answer([{"head": head, "relation": "r1", "tail": "e5"}])
        for engine, head in ((before, {"numbers": {"size": 300}}), (after, "Newland"))
    )
    assert named["score"] == pytest.approx(described["score"], abs=1e-4)
    (found,) = after.answer([{"head": None, **ask, "candidates": ["n0", "n1", "e3"]}])
    assert {each["key"] for each in found["predictions"]} == {"n0", "n1", "e3"}
    (old,), (new_answer,) = (engine.answer([{"head": "e7", "relation": "r0", "k": 600}]) for engine in (before, after))
    scores = {each["key"]: each["score"] for each in new_answer["predictions"]}
    common = [each for each in old["predictions"] if each["key"] in scores]
    assert len(common) > 5
    assert [scores[each["key"]] for each in common] == pytest.approx([each["score"] for each in common], abs=1e-4)


def test_the_index_finds_new_entities_and_is_not_made_again(packaged: Path, tmp_path: Path) -> None:
    new = read(dataset(tmp_path / "new", "n0\tNewland", "n1\tSmalland"))
    bundle = extend(packaged, new, tmp_path / "extended")
    engine = Engine.load(tmp_path / "extended")
    index = engine.scorer.index
    assert index is not None
    assert index.index.ntotal == N + 2
    index.index.nprobe = index.index.nlist  # every cell, so that nothing but the row itself can be missing
    best = 0
    model = bundle.model.freeze()
    for relation in range(R):
        for entity in range(0, N, 7):
            scores = model.score_tails(torch.tensor([entity]), torch.tensor([relation]))[0]
            if N in scores.topk(10).indices.tolist():
                known = model.everyone().modal.rows(torch.tensor([entity]))
                found = index.search(known, torch.tensor([relation]), "tail", 64)
                assert N in np.asarray(found)[0].tolist()
                best += 1
    assert best
    archive = tmp_path / "model.mar"
    build(archive, tmp_path / "extended", "1", SMALL, None, open_storage(str(tmp_path / "store")))
    from zipfile import ZipFile

    inside = ZipFile(archive)
    for name in (INDEX, TABLES):
        assert inside.read(f"bundle/{name}") == (tmp_path / "extended" / name).read_bytes()


def test_without_structure_dropout_the_structure_is_predicted(tmp_path: Path) -> None:
    bundle = make_bundle(0.0)
    bundle.save(tmp_path / "bundle")
    made = extend(tmp_path / "bundle", read(dataset(tmp_path / "new", "n0\tN", "n1\tS")), tmp_path / "extended")
    old, new = bundle.model.entities.structural_table(), made.model.entities.structural_table()
    assert old is not None
    assert new is not None
    assert torch.equal(new[:N], old)
    assert new[N:].isfinite().all()
    assert not (tmp_path / "extended" / TABLES).exists()


@pytest.mark.parametrize(
    ("lines", "numbers", "sentence"),
    [
        (["e5\tAgain"], "", "entity e5: the model has it already"),
        (["n0\tNothing"], "", r"entity n0: the model knows nothing by which it could rank it — give it content: lit"),
        (["n0\tOdd"], "n0\tweight\t3\n", "entity n0: the model knows no attribute 'weight'"),
    ],
)
def test_what_cannot_be_added_is_said(
    lines: list[str], numbers: str, sentence: str, packaged: Path, tmp_path: Path
) -> None:
    new = read(dataset(tmp_path / "new", *lines, numbers=numbers))
    with pytest.raises(UserError, match=sentence):
        extend(packaged, new, tmp_path / "extended")
    assert not (tmp_path / "extended").exists()
