"""An index of a small model, against the scan that it stands in for."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.graph import Graph, KnownTriples, Vocabulary
from mmkgc.components.kge.model import Model, ModelConfig
from mmkgc.components.package.config import PackageConfig
from mmkgc.components.package.package import write_extras
from mmkgc.serving.engine import build_index
from mmkgc.serving.engine.engine import Engine
from mmkgc.serving.engine.index import places, searchable
from mmkgc.serving.engine.usual_types import UsualTypes

N, R = 2000, 4


def make_bundle(interaction: object = "complex", fusion: str = "structure") -> Bundle:
    """Entities around 50 centres, each the head and the tail of many triples of its own cluster."""
    torch.manual_seed(0)
    names = tuple(f"e{index}" for index in range(N))
    columns = [torch.randint(high, (4000,)) for high in (N, R, N)]
    triples = torch.stack(columns, dim=1).unique(dim=0)
    triples = triples[(triples[:, 0] != triples[:, 2]) | (triples[:, 1] == 0)]
    relations = Vocabulary(*[tuple(f"r{index}" for index in range(R))] * 2)
    types = tuple("even" if index % 2 == 0 else "odd" for index in range(N))
    graph = Graph(Vocabulary(names, names), relations, triples, triples[:0], triples[:0], types=types)
    model = Model(
        ModelConfig(dimension=8, interaction=interaction, fusion=fusion), R, {}, torch.ones(N, dtype=torch.bool)
    )
    centres = torch.randn(50, model.entities.structure.shape[1])
    with torch.no_grad():
        model.entities.structure.copy_(centres[torch.arange(N) % 50] + 0.1 * torch.randn_like(model.entities.structure))
        for table in model.relations.values():
            table.normal_()
    return Bundle.of(model.eval(), graph)


@pytest.fixture(scope="module", params=["complex", {"name": "transe", "p": 2}], ids=["inner product", "L2"])
def engines(request, tmp_path_factory) -> tuple[Engine, Engine]:
    """An engine that scans and one that searches."""
    folder: Path = tmp_path_factory.mktemp("bundle") / "bundle"
    make_bundle(request.param).save(folder)
    exact = Engine.load(folder)
    write_extras(folder, Bundle.load(folder), PackageConfig(index_from=N, index_recall=0.97, index_queries=100))
    return exact, Engine.load(folder)


def test_the_model_says_how_its_answers_are_found(engines):
    exact, indexed = engines
    assert exact.catalog.model()["search"] == "exact scan"
    assert indexed.catalog.model()["search"].startswith("index IVF")
    assert indexed.scorer.index.info.recall >= 0.97


def test_types_that_the_relation_never_has_are_left_out_of_what_an_index_finds(engines):
    exact, indexed = engines
    triples = indexed.bundle.known.triples
    kept = triples[(triples[:, 2] % 2 == 0) | (triples[:, 1] != 1)]
    known = KnownTriples(kept, N, R)
    usual = UsualTypes(replace(indexed.bundle, known=known))
    query = {"head": indexed.bundle.entities.keys[3], "relation": "r1", "k": 10}
    for engine in (exact, indexed):
        with pytest.MonkeyPatch.context() as changed:
            changed.setattr(engine.scorer, "usual_types", usual)
            (answer,) = engine.answer([query])
        assert len(answer["predictions"]) == 10
        assert {engine.bundle.types[engine.bundle.entities.keys.index(p["key"])] for p in answer["predictions"]} == {
            "even"
        }


def test_an_index_finds_nearly_all_and_scores_exactly(engines):
    exact, indexed = engines
    queries = [{side: f"e{i}", "relation": f"r{i % R}", "k": 10} for i in range(60) for side in ("head", "tail")]
    found = shares(exact.answer(queries), indexed.answer(queries))
    assert np.mean(found) >= 0.95


def shares(truth: list[dict], answers: list[dict]) -> list[float]:
    """Share of the true predictions that were found, whose scores must agree."""
    result = []
    for true, answer in zip(truth, answers, strict=True):
        scores = {p["key"]: p["score"] for p in true["predictions"]}
        both = [p for p in answer["predictions"] if p["key"] in scores]
        assert [p["score"] for p in both] == pytest.approx([scores[p["key"]] for p in both], abs=1e-4)
        assert [p["score"] for p in answer["predictions"]] == sorted(p["score"] for p in answer["predictions"])[::-1]
        result.append(len(both) / len(scores))
    return result


def test_known_answers_are_left_out_or_marked(engines):
    exact, indexed = engines
    queries = [
        {"head": f"e{head}", "relation": f"r{relation}", "exclude_known": False}
        for head, relation, _ in exact.bundle.train[:500].tolist()
    ]
    marked = [
        (query, {p["key"] for p in answer["predictions"] if p["known"]})
        for query, answer in zip(queries, exact.answer(queries), strict=True)
        if any(p["known"] for p in answer["predictions"])
    ]
    assert marked, "the test needs a query whose known answer is among the best"
    for query, facts in marked:
        shown, hidden = indexed.answer([query, {**query, "exclude_known": True}])
        assert {p["key"] for p in shown["predictions"] if p["known"]} == facts
        assert not facts & {p["key"] for p in hidden["predictions"]}
        assert len(hidden["predictions"]) == 10


def test_an_entity_is_no_answer_about_itself(engines):
    _, indexed = engines
    loops = {triple[1] for triple in indexed.bundle.known if triple[0] == triple[2]}
    queries = [{"head": f"e{i}", "relation": f"r{r}"} for i in range(50) for r in set(range(R)) - loops]
    for query, answer in zip(queries, indexed.answer(queries), strict=True):
        assert query["head"] not in {p["key"] for p in answer["predictions"]}


def test_a_restricted_query_is_compared_with_all_that_it_allows(engines):
    exact, indexed = engines
    queries = [
        {"head": "e1", "relation": "r1", "candidates": ["e7", "e8", "e1999"], "exclude_known": False},
        {"head": "e1", "relation": "r1", "type": "odd"},
        {"head": "e1", "tail": "e2"},
    ]
    assert indexed.answer(queries) == exact.answer(queries)


def test_what_cannot_be_searched_is_scanned():
    assert searchable(make_bundle("rotate").model.freeze()) is None
    assert searchable(make_bundle({"name": "transe", "p": 1}).model.freeze()) is None
    assert searchable(make_bundle("transh").model.freeze()) is None
    assert searchable(make_bundle("rescal").model.freeze()) is not None
    assert build_index.build_index(make_bundle("rotate"), 0.9, 10) is None


@pytest.mark.parametrize("interaction", ["complex", {"name": "transe", "p": 2}], ids=["inner product", "L2"])
def test_where_answers_are_spread_over_all_cells_codes_are_read_instead(tmp_path, monkeypatch, interaction):
    monkeypatch.setattr(build_index, "FEW_CELLS", N)  # few coordinates are near to one another all the same
    monkeypatch.setattr(build_index, "FEW_ENTITIES", 4)  # or so small a graph would be scanned
    bundle = make_bundle(interaction)
    torch.nn.init.normal_(bundle.model.entities.structure)
    bundle.save(tmp_path)
    exact = Engine.load(tmp_path)
    write_extras(tmp_path, Bundle.load(tmp_path), PackageConfig(index_from=N, index_recall=0.95, index_queries=100))
    indexed = Engine.load(tmp_path)
    assert indexed.scorer.index.info.kind.startswith("PQ")
    assert "all codes read" in indexed.catalog.model()["search"]
    queries = [{"head": f"e{i}", "relation": f"r{i % R}", "k": 20} for i in range(100)]
    assert np.mean(shares(exact.answer(queries), indexed.answer(queries))) >= 0.9


def test_an_index_that_would_have_to_look_everywhere_is_not_built():
    bundle = make_bundle()
    torch.nn.init.normal_(bundle.model.entities.structure)
    assert build_index.build_index(bundle, 1.0, 50) is None


def test_places_of_pairs():
    ids = np.array([[1, 4, 9], [0, 4, 10]])  # 10 entities: 10 stands for none
    rows, columns = places(ids, 10, np.array([0, 0, 1, 1]), np.array([4, 5, 0, 9]))
    assert (rows.tolist(), columns.tolist()) == ([0, 1], [1, 0])
