import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pykeen.evaluation import RankBasedEvaluator
from torch import nn

from mmkgc.components.kge.evaluation.bootstrap import interval, metric_intervals, resampled_means
from mmkgc.components.kge.evaluation.metrics import SIDES, TIES, QueryRanks, metrics_by_side, rank_metrics
from mmkgc.components.kge.evaluation.ranks import NotFinite, rank
from mmkgc.components.kge.graph import KnownTriples

KS = (1, 3, 5, 10)


class Lookup(nn.Module):
    """A model that is a table of scores ``[N, R, N]``."""

    def __init__(self, table: torch.Tensor) -> None:
        super().__init__()
        self.table = table

    def freeze(self) -> "Lookup":
        return self

    def score_tails(self, heads, relations):
        return self.table[heads, relations]

    def score_heads(self, relations, tails):
        return self.table[:, relations, tails].T


def world(seed: int, entities: int = 12, relations: int = 3, levels: int = 4):
    """A table of scores with many ties, queries (some twice), and known triples."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.randint(levels, (entities, relations, entities), generator=generator).float()
    known = torch.stack(
        [torch.randint(size, (60,), generator=generator) for size in (entities, relations, entities)], dim=1
    )
    return Lookup(table), torch.cat([known[:20], known[:3]]), KnownTriples(known, entities, relations)


def brute_force(table, triples, known):
    """Ranks by definition: compare with every candidate, one by one."""
    true = {tuple(triple) for triple in known.triples.tolist()}
    rows = []
    for side in ("head", "tail"):
        for h, r, t in triples.tolist():
            others = [(e, r, t) if side == "head" else (h, r, e) for e in range(len(table))]
            rivals = [table[triple] for triple in others if triple == (h, r, t) or triple not in true]
            better = sum(score > table[h, r, t] for score in rivals)
            equal = sum(score == table[h, r, t] for score in rivals)
            rows.append((1 + better, better + equal, len(rivals)))
    return np.array(rows, dtype=float).T


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_ranks_are_those_of_brute_force(seed):
    model, triples, known = world(seed)
    queries = QueryRanks.of(rank(model, triples, known, batch_size=7))
    optimistic, pessimistic, candidates = brute_force(model.table, triples, known)
    np.testing.assert_array_equal(queries.optimistic, optimistic)
    np.testing.assert_array_equal(queries.pessimistic, pessimistic)
    np.testing.assert_array_equal(queries.candidates, candidates)


@pytest.mark.parametrize("seed", range(3))
def test_metrics_equal_pykeen(seed):
    model, triples, known = world(seed, entities=40)
    queries = QueryRanks.of(rank(model, triples, known))
    ours = {ties: metrics_by_side(queries, KS, ties) for ties in TIES}
    evaluator = RankBasedEvaluator(filtered=True)
    for side in ("head", "tail"):
        for row in triples:
            h, r, t = row.tolist()
            scores = (model.table[:, r, t] if side == "head" else model.table[h, r]).clone()
            gold = scores[h if side == "head" else t].clone()
            answers = known.heads(row[1:2], row[2:3]) if side == "head" else known.tails(row[0:1], row[1:2])
            scores[answers[1]] = float("nan")
            scores[h if side == "head" else t] = gold
            evaluator.process_scores_(row[None], side, scores[None], true_scores=gold[None, None])
    theirs = evaluator.finalize()
    names = {"mr": "arithmetic_mean_rank", "mrr": "inverse_harmonic_mean_rank"} | {
        f"hits_at_{k}": f"hits_at_{k}" for k in KS
    }
    adjusted = {"amr": "adjusted_arithmetic_mean_rank", "amri": "adjusted_arithmetic_mean_rank_index"}
    for side in SIDES:
        for ties in TIES:
            for mine, name in (names | (adjusted if ties == "realistic" else {})).items():
                assert ours[ties][side][mine] == pytest.approx(theirs.get_metric(f"{side}.{ties}.{name}"), abs=1e-6)


def test_a_constant_model_is_at_chance():
    model = Lookup(torch.zeros(30, 2, 30))
    triples = torch.tensor([[0, 0, 1], [3, 1, 4]])
    queries = QueryRanks.of(rank(model, triples, KnownTriples(triples, 30, 2)))
    metrics = rank_metrics(queries.realistic, queries.candidates)
    assert metrics["mr"] == (30 + 1) / 2
    assert metrics["amr"] == 1
    assert metrics["amri"] == 0
    assert rank_metrics(queries.optimistic, queries.candidates)["mrr"] == 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_are_refused(bad):
    table = torch.zeros(5, 1, 5)
    table[1, 0, 2] = bad
    with pytest.raises(NotFinite):
        rank(Lookup(table), torch.tensor([[1, 0, 3]]), KnownTriples(torch.tensor([[1, 0, 3]]), 5, 1))


@given(st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_renaming_entities_changes_no_metric(seed):
    model, triples, known = world(seed)
    shuffled = torch.randperm(12, generator=torch.Generator().manual_seed(seed))
    place = shuffled.argsort()

    def renamed(rows):
        return torch.stack([place[rows[:, 0]], rows[:, 1], place[rows[:, 2]]], dim=1)

    other = Lookup(model.table[shuffled][:, :, shuffled])
    before = QueryRanks.of(rank(model, triples, known))
    after = QueryRanks.of(rank(other, renamed(triples), KnownTriples(renamed(known.triples), 12, 3)))
    for side in SIDES:
        values = (metrics_by_side(queries, KS, "realistic")[side] for queries in (before, after))
        assert next(values) == pytest.approx(next(values))


def test_bootstrap_intervals_cover_as_often_as_they_say():
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(200):
        values = rng.exponential(size=150)
        low, high = interval(resampled_means(values, np.arange(150), 300, seed), 0.9)
        hits += low <= 1 <= high
    assert 165 <= hits <= 193  # 180 expected; the percentile interval of a skewed mean covers slightly less


def test_queries_of_one_triple_are_resampled_together():
    values = np.array([1.0, 0.0] * 50)
    together = resampled_means(values, np.repeat(np.arange(50), 2), 200, seed=1)
    apart = resampled_means(values, np.arange(100), 200, seed=1)
    np.testing.assert_allclose(together, 0.5)
    assert apart.std() > 0.03


def test_intervals_contain_the_metric():
    model, triples, known = world(5)
    queries = QueryRanks.of(rank(model, triples, known))
    metrics = rank_metrics(queries.realistic, queries.candidates, KS)
    for name, (low, high) in metric_intervals(queries, KS, "realistic", 200, 0.95, seed=0).items():
        assert low <= metrics[name] <= high
