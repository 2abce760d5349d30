"""The development split: properties of the choice, and when it is made."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.dataset.split import carve

Write = Callable[..., Path]
Build = Callable[..., MMKG]

triples_of_small_graphs = st.sets(
    st.tuples(st.integers(0, 7), st.integers(0, 2), st.integers(0, 7)), min_size=1, max_size=80
).map(lambda triples: np.array(sorted(triples)))
shares = st.floats(0.01, 0.5)
seeds = st.integers(0, 2**31)


def nothing_kept(triples: np.ndarray) -> np.ndarray:
    return np.zeros(len(triples), bool)


@given(triples_of_small_graphs, shares, seeds)
def test_every_entity_and_relation_stays(triples: np.ndarray, share: float, seed: int) -> None:
    stays = triples[~carve(triples, share, seed, nothing_kept(triples))]
    assert set(stays[:, [0, 2]].flat) == set(triples[:, [0, 2]].flat)
    assert set(stays[:, 1]) == set(triples[:, 1])


@given(triples_of_small_graphs, shares, seeds)
def test_the_share_is_met_unless_too_many_must_stay(triples: np.ndarray, share: float, seed: int) -> None:
    chosen = carve(triples, share, seed, nothing_kept(triples)).sum()
    wanted = max(1, round(share * len(triples)))
    must_stay = len(np.unique(triples[:, [0, 2]])) + len(np.unique(triples[:, 1]))
    assert min(wanted, len(triples) - must_stay) <= chosen <= wanted


@given(triples_of_small_graphs, shares, seeds, st.data())
def test_kept_triples_are_not_chosen(triples: np.ndarray, share: float, seed: int, data: st.DataObject) -> None:
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=len(triples), max_size=len(triples))))
    assert not (carve(triples, share, seed, kept) & kept).any()


@given(triples_of_small_graphs, shares, seeds)
def test_the_seed_decides(triples: np.ndarray, share: float, seed: int) -> None:
    first, second = (carve(triples, share, seed, nothing_kept(triples)) for _ in range(2))
    assert (first == second).all()


def test_another_seed_chooses_others() -> None:
    triples = np.array([(head, 0, tail) for head in range(20) for tail in range(20)])
    one, two = (carve(triples, 0.1, seed, nothing_kept(triples)) for seed in (0, 1))
    assert one.sum() == two.sum() == 40
    assert (one != two).any()


DENSE = "".join(f"{head}\tborders\t{tail}\n" for head in ("no", "se", "fi") for tail in ("no", "se", "fi", "osl"))
DENSE_TRAIN = {"train.tsv": DENSE + "no\tcapital\tosl\n", "test.tsv": "osl\tborders\tno\n"}


def test_a_clean_development_split_is_kept(write_tsv: Write, built: Build) -> None:
    mmkg = built(write_tsv())
    assert mmkg.graph.valid.tolist() == [[1, 0, 0]]
    assert len(mmkg.graph.train) == 4
    assert not len(mmkg.graph.known)
    assert mmkg.info["notes"] == []


def test_a_missing_development_split_is_carved(write_tsv: Write, built: Build) -> None:
    mmkg = built(write_tsv(DENSE_TRAIN | {"valid.tsv": None}), dev_share=0.2)
    assert (len(mmkg.graph.train), len(mmkg.graph.valid), len(mmkg.graph.known)) == (10, 3, 0)
    assert mmkg.info["notes"][0] == "There is no development split."
    assert "3 of the 13 train triples (23.1%, seed 0)" in mmkg.info["notes"][1]


def test_a_contaminated_development_split_only_serves_the_filter(write_tsv: Write, built: Build) -> None:
    """One of its triples is in train, one in test, one in neither, and one is repeated."""
    contaminated = "no\tborders\tse\nosl\tborders\tno\nosl\tborders\tse\nno\tborders\tse\n"
    mmkg = built(write_tsv(DENSE_TRAIN | {"valid.tsv": contaminated}))
    train, valid, test, known = (
        {tuple(triple) for triple in getattr(mmkg.graph, split).tolist()}
        for split in ("train", "valid", "test", "known")
    )
    assert known == {(0, 0, 1), (3, 0, 0), (3, 0, 1)}
    assert len(valid) == 1
    assert not valid & (train | test)
    assert len(train | valid) == 13
    assert mmkg.info["notes"][0] == "valid.tsv: repeated rows that are dropped: 1 of 4."
    assert "of its 3 distinct triples 1 are in train and 1 in test" in mmkg.info["notes"][1]


def test_the_same_seed_gives_the_same_graph(write_tsv: Write, built: Build) -> None:
    folder = write_tsv(DENSE_TRAIN | {"valid.tsv": None})
    one, two, other = built(folder, seed=3), built(folder, seed=3), built(folder, seed=5)
    assert torch.equal(one.graph.valid, two.graph.valid)
    assert not torch.equal(one.graph.valid, other.graph.valid)


def test_a_leaked_test_triple_never_becomes_a_development_triple(write_tsv: Write, built: Build) -> None:
    leaky = DENSE_TRAIN | {"test.tsv": DENSE, "valid.tsv": None}
    for seed in range(5):
        folder = write_tsv(leaky | {"train.tsv": DENSE + DENSE.replace("borders", "capital")})
        mmkg = built(folder, seed=seed, allow_leakage=True)
        assert set(mmkg.graph.valid[:, 1].tolist()) == {1}
