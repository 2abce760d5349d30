"""Supporting triples against a comparison of every pair."""

import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize

from mmkgc.serving.engine import explain
from mmkgc.serving.engine.explain import Evidence


def brute(bundle, triple: torch.Tensor) -> dict[tuple[int, ...], float]:
    """How similar each train triple of the relation is to another triple, by the cosines of every pair."""
    modal = bundle.model.entities.encode(torch.arange(len(bundle.entities)))
    vectors = torch.cat([normalize(part, dim=-1) for part in modal.vectors.values()], dim=-1)
    peers = [row for row in bundle.train.tolist() if row[1] == triple[1] and row != triple.tolist()]
    return {
        tuple(row): sum(cosine_similarity(vectors[int(triple[end])], vectors[row[end]], dim=0).item() for end in (0, 2))
        for row in peers
    }


@pytest.mark.parametrize(("at_once", "copied"), [(1, 0.25), (1 << 22, 0.0), (1 << 22, 1.0)])
@torch.no_grad()
def test_support_of_many_triples_is_that_of_each(make_bundle, monkeypatch, at_once, copied):
    monkeypatch.setattr(explain, "FLOATS_AT_ONCE", at_once)
    monkeypatch.setattr(explain, "MOST_COPIED", copied)  # compared with all entities, and with those of the relation
    bundle = make_bundle()
    triples = torch.cat([bundle.train[:30], bundle.train[:30] + torch.tensor([1, 0, -1])]).clamp(min=0)
    triples[:, [0, 2]] %= len(bundle.entities)
    found = Evidence(bundle).nearest(triples)
    for triple, near in zip(triples, found, strict=True):
        similar = brute(bundle, triple)
        assert len({tuple(row) for row in near.tolist()}) == 3
        likeness = [similar[tuple(row)] for row in near.tolist()]  # (h, r, h) and (t, r, t) are as similar to (h, r, t)
        assert likeness == pytest.approx(sorted(similar.values(), reverse=True)[:3], abs=1e-5)


def test_explained_queries_of_a_batch_cost_one_pass_a_relation(engine, monkeypatch):
    """A pass each took 242 s for a batch of 1,024."""
    asked = []
    nearest_all = Evidence.nearest_all
    monkeypatch.setattr(Evidence, "nearest_all", lambda *given: asked.append(len(given[1])) or nearest_all(*given))
    queries = [{"head": f"e{head}", "relation": f"r{head % 2}", "k": 4, "explain": True} for head in range(30)]
    answers = engine.answer(queries)
    assert all(len(prediction["support"]) == 3 for answer in answers for prediction in answer["predictions"])
    assert sorted(asked) == [60, 60]
