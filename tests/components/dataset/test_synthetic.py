"""Synthetic graphs: sizes, degrees and types as stated, the same for the same seed, readable by ingest."""

from pathlib import Path

import numpy as np
import pytest

from mmkgc.components.dataset.readers import read
from mmkgc.components.dataset.synthetic import SyntheticGraph, write_dataset, write_features

N, T = 3_000, 20_000


@pytest.fixture(scope="module")
def graph() -> SyntheticGraph:
    return SyntheticGraph(N, T, n_relations=40, n_types=10)


@pytest.fixture(scope="module")
def triples(graph: SyntheticGraph) -> np.ndarray:
    return np.concatenate([part for splits in graph.triples() for part in splits.values()])


def test_sizes_are_as_asked_and_no_triple_comes_twice(triples: np.ndarray) -> None:
    assert triples.shape == (T, 3)
    assert len(np.unique(triples, axis=0)) == T
    assert triples.min() >= 0
    assert (triples.max(axis=0) < [N, 40, N]).all()


def test_degrees_have_a_power_law(triples: np.ndarray) -> None:
    degrees = np.sort(np.bincount(triples[:, [0, 2]].ravel(), minlength=N))[::-1]
    assert degrees[0] > 20 * np.median(degrees)
    assert degrees[: N // 10].sum() > 0.3 * degrees.sum()


def test_a_relation_holds_between_two_types(graph: SyntheticGraph, triples: np.ndarray) -> None:
    for relation in range(40):
        pairs = triples[triples[:, 1] == relation]
        assert len(np.unique(graph.types[pairs[:, 0]])) == len(np.unique(graph.types[pairs[:, 2]])) == 1


def test_heads_of_a_cluster_have_tails_of_a_cluster(graph: SyntheticGraph, triples: np.ndarray) -> None:
    """More often than by chance: there is something to learn."""
    pairs = triples[triples[:, 1] == 0]
    heads, tails = graph.clusters[pairs[:, 0]], graph.clusters[pairs[:, 2]]
    alike = [np.bincount(tails[heads == head]).max() / (heads == head).sum() for head in np.unique(heads)]
    assert np.mean(alike) > 0.6


def test_the_same_seed_gives_the_same_bytes_which_ingest_reads(graph: SyntheticGraph, tmp_path: Path) -> None:
    again = SyntheticGraph(N, T, n_relations=40, n_types=10)
    for folder, each in (("one", graph), ("other", again)):
        write_dataset(each, tmp_path / folder)
        write_features(each, tmp_path / folder / "features.npy", 8)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes() for name in names)
    raw = read(tmp_path / "one")
    assert len(raw.entities) == N
    assert len(raw.train) + len(raw.valid or ()) + len(raw.test) == T
    assert raw.types is not None
    assert [int(kind.removeprefix("type ")) for kind in raw.types] == graph.types.tolist()
    vectors = np.load(tmp_path / "one" / "features.npy")
    assert vectors.shape == (N, 8)
    assert np.abs(vectors).max(axis=1).min() > 0


def test_another_seed_gives_other_triples(triples: np.ndarray) -> None:
    other = SyntheticGraph(N, T, n_relations=40, n_types=10, seed=1)
    first = next(iter(other.triples()))["train"]
    assert not np.isin(first[:, 0] * N + first[:, 2], triples[:, 0] * N + triples[:, 2]).all()
