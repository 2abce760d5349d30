"""Supporting triples against a comparison of every pair."""

import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize

from mmkgc.serving.engine import explain, peers
from mmkgc.serving.engine.explain import Evidence
from mmkgc.serving.engine.peers import shortlist, sketched


def brute(bundle, triple: torch.Tensor) -> dict[tuple[int, ...], float]:
    """How similar each train triple of the relation is to another triple, by the cosines of every pair."""
    modal = bundle.model.entities.encode(torch.arange(len(bundle.entities)))
    vectors = torch.cat([normalize(part, dim=-1) for part in modal.vectors.values()], dim=-1)
    peers = [row for row in bundle.train.tolist() if row[1] == triple[1] and row != triple.tolist()]
    return {
        tuple(row): sum(cosine_similarity(vectors[int(triple[end])], vectors[row[end]], dim=0).item() for end in (0, 2))
        for row in peers
    }


@pytest.mark.parametrize(("at_once", "few"), [(1, 512), (1 << 22, 512), (1 << 22, 0), (1, 0)])
@torch.no_grad()
def test_support_of_many_triples_is_that_of_each(make_bundle, monkeypatch, at_once, few):
    monkeypatch.setattr(explain, "FLOATS_AT_ONCE", at_once)
    monkeypatch.setattr(explain, "FEW", few)  # compared with all triples of the relation, and with a shortlist
    bundle = make_bundle()
    triples = torch.cat([bundle.train[:30], bundle.train[:30] + torch.tensor([1, 0, -1])]).clamp(min=0)
    triples[:, [0, 2]] %= len(bundle.entities)
    found = Evidence(bundle).nearest(triples)
    for triple, near in zip(triples, found, strict=True):
        similar = brute(bundle, triple)
        assert len({tuple(row) for row in near.tolist()}) == 3
        likeness = [similar[tuple(row)] for row in near.tolist()]  # (h, r, h) and (t, r, t) are as similar to (h, r, t)
        assert likeness == pytest.approx(sorted(similar.values(), reverse=True)[:3], abs=1e-5)


@pytest.mark.parametrize("copied", [0, 2, 1 << 30])
def test_a_shortlist_holds_the_most_similar(monkeypatch, copied):
    """Entities in 20 clusters, as learned ones are: 300 dimensions of noise are lost on the 64 axes."""
    monkeypatch.setattr(peers, "COPIED", copied)  # of all entities, and of those that the triples have
    generator = torch.Generator().manual_seed(0)
    entities, triples = 2500, 700
    centres = torch.randn(20, 300, generator=generator)[torch.randint(20, (entities,), generator=generator)]
    vectors = normalize(centres + 0.7 * torch.randn(entities, 300, generator=generator), dim=-1)
    sketches = sketched({"a": vectors * 3}, {"a": torch.full((entities,), 1 / 3)})
    assert sketches.shape == (entities, 64)
    known, asked = (torch.randint(entities, (count, 2), generator=generator) for count in (triples, 40))
    known[:2], known[-1] = asked[0], asked[0]  # the triple itself
    found = shortlist(sketches, asked, known, 32)
    assert 32 < len(found) < triples
    assert found.tolist() == sorted(set(found.tolist()))
    cosines = (vectors @ vectors.T).clamp(max=1)
    likeness = cosines[asked[:, :1], known[:, 0]] + cosines[asked[:, 1:], known[:, 1]]
    best = likeness.topk(3).indices
    assert {0, 1, triples - 1} <= set(found.tolist())
    assert torch.isin(best, found).float().mean() > 0.98


def test_explained_queries_of_a_batch_cost_one_pass_a_relation(engine, monkeypatch):
    """A pass each took 242 s for a batch of 1,024."""
    asked = []
    nearest_all = Evidence.nearest_all
    monkeypatch.setattr(Evidence, "nearest_all", lambda *given: asked.append(len(given[1])) or nearest_all(*given))
    queries = [{"head": f"e{head}", "relation": f"r{head % 2}", "k": 4, "explain": True} for head in range(30)]
    answers = engine.answer(queries)
    assert all(len(prediction["support"]) == 3 for answer in answers for prediction in answer["predictions"])
    assert sorted(asked) == [60, 60]
