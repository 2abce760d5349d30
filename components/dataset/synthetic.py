"""Synthetic multi-modal graphs of any size, with the degrees and types of real ones, for measurements of scale.

Real graphs have a few entities in very many triples, relations of very different frequency, and relations that hold
between entities of certain types only. Here:

- Entities have types whose sizes follow Zipf's law. Within a type, the probability of the k-th entity is proportional
  to (k + 1)^−a with a = 0.7, so that degrees have a power law with exponent 1 + 1/a ≈ 2.4.
- Relations have frequencies that follow Zipf's law, one type of heads and one of tails.
- Entities of a type belong to clusters. A relation maps clusters of heads to clusters of tails, and four of five
  triples respect the map: there is something to learn. Features are the cluster's vector and Gaussian noise.

The same sizes and seed give the same bytes. Relations are generated one after another, so the memory is that of the
vocabulary and of the largest relation.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv

from mmkgc.components.kge.vocabulary import PARTS

DEGREE_EXPONENT = 0.7
CLUSTERS = 64  # of a type with that many entities
RULED = 0.8  # share of triples that respect the map of clusters
DENSEST = 0.05  # largest share of all pairs of a relation's types that are triples
ROUNDS = 20  # of drawing triples that are not there yet
CHUNK = 1 << 16  # rows of features at once
NOISE = 1.0  # norm of the noise in relation to that of a cluster's vector
SPLITS = ("train", "valid", "test")
HELD_OUT = 20_000  # triples of valid and of test, at most
SCHEMA = pa.schema([(name, pa.string()) for name in PARTS])


@dataclass(frozen=True)
class SyntheticGraph:
    """A graph with about ``n_triples`` triples (fewer if the pairs do not suffice), ``n_entities`` and so on."""

    n_entities: int
    n_triples: int
    n_relations: int = 200
    n_types: int = 50
    seed: int = 0

    @cached_property
    def type_sizes(self) -> np.ndarray:
        """Entities of each type, int64 ``[types]``; every type has at least one."""
        return _shares(self.n_entities, self.n_types)

    @cached_property
    def _starts(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(self.type_sizes)])

    @cached_property
    def _ids(self) -> np.ndarray:
        """Id of each place, int32 ``[N]``: places are sorted by type and popularity, ids are not."""
        return self._random(1).permutation(self.n_entities).astype(np.int32)

    @cached_property
    def types(self) -> np.ndarray:
        """Type of each entity, int16 ``[N]``."""
        types = np.empty(self.n_entities, np.int16)
        types[self._ids] = np.repeat(np.arange(self.n_types, dtype=np.int16), self.type_sizes)
        return types

    @cached_property
    def clusters(self) -> np.ndarray:
        """Cluster of each entity within its type, int16 ``[N]``."""
        places = np.arange(self.n_entities) - np.repeat(self._starts[:-1], self.type_sizes)
        clusters = np.empty(self.n_entities, np.int16)
        clusters[self._ids] = places % np.repeat(self._n_clusters(self.type_sizes), self.type_sizes)
        return clusters

    def relations(self) -> Iterator[tuple[int, np.ndarray]]:
        """Each relation and its distinct triples as int32 pairs ``[T_r, 2]`` of head and tail."""
        ends = self._random(2).choice(self.n_types, (self.n_relations, 2), p=self.type_sizes / self.n_entities)
        capacity = np.maximum(1, DENSEST * self.type_sizes[ends].prod(axis=1)).astype(np.int64)
        order = np.argsort(-capacity, kind="stable")  # frequent relations hold between large types
        sizes = np.minimum(_shares(self.n_triples, self.n_relations), capacity[order])
        missing = self.n_triples - int(sizes.sum())
        for number, relation in enumerate(order):
            added = min(missing, int(capacity[relation] - sizes[number]))
            missing -= added
            domain, codomain = ends[relation].tolist()
            yield number, self._pairs(number, domain, codomain, int(sizes[number]) + added)

    def _pairs(self, relation: int, domain: int, codomain: int, count: int) -> np.ndarray:
        random = self._random(3, relation)
        n_heads, n_tails = int(self.type_sizes[domain]), int(self.type_sizes[codomain])
        groups = int(self._n_clusters(np.array(n_tails)))
        mapped = random.integers(groups, size=int(self._n_clusters(np.array(n_heads))))
        codes = np.empty(0, np.int64)
        for _ in range(ROUNDS):
            size = int((count - len(codes)) * 1.2) + 16
            heads = _popular(random, np.full(size, n_heads))
            group = mapped[heads % len(mapped)]
            tails = group + groups * _popular(random, (n_tails - group + groups - 1) // groups)
            free = random.random(size) >= RULED
            tails[free] = _popular(random, np.full(int(free.sum()), n_tails))
            codes = np.unique(np.concatenate([codes, heads * n_tails + tails]))
            if len(codes) >= count:
                codes = np.sort(random.choice(codes, count, replace=False))
                break
        heads, tails = codes // n_tails + self._starts[domain], codes % n_tails + self._starts[codomain]
        return self._ids[np.stack([heads, tails], axis=1)]

    def triples(self) -> Iterator[dict[str, np.ndarray]]:
        """Triples int32 ``[T_r, 3]`` (head, relation, tail) by split (train, valid, test), relation by relation."""
        share = min(0.02, HELD_OUT / self.n_triples)
        for relation, pairs in self.relations():
            draw = self._random(4, relation).random(len(pairs))
            chosen = {"train": draw >= 2 * share, "valid": draw < share, "test": (draw >= share) & (draw < 2 * share)}
            yield {split: np.insert(pairs[rows], 1, relation, axis=1) for split, rows in chosen.items()}

    def features(self, width: int) -> Iterator[np.ndarray]:
        """Features float32 ``[≤ 65536, width]`` of consecutive entities: the cluster's vector and noise."""
        centres = self._random(5).standard_normal((self.n_types, CLUSTERS, width), np.float32) / width**0.5
        for number, start in enumerate(range(0, self.n_entities, CHUNK)):
            rows = slice(start, min(start + CHUNK, self.n_entities))
            types = self.types[rows]
            noise = self._random(6, number).standard_normal((len(types), width), np.float32)
            yield centres[types, self.clusters[rows]] + noise * np.float32(NOISE / width**0.5)

    def _n_clusters(self, sizes: np.ndarray) -> np.ndarray:
        return np.clip(sizes // 4, 1, CLUSTERS)

    def _random(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *purpose])


def write_dataset(graph: SyntheticGraph, folder: Path) -> None:
    """Write the files of a dataset folder (see ``components/ingest/README.md``), relation by relation."""
    folder.mkdir(parents=True, exist_ok=True)
    entities, relations = keys(graph)
    kinds = pa.array([f"type {number}" for number in range(graph.n_types)]).take(pa.array(graph.types))
    names = pc.binary_join_element_wise(kinds, entities, " ")
    described = pc.binary_join_element_wise("of", kinds, "and group", pa.array(graph.clusters).cast(pa.string()), " ")
    columns = {"key": entities, "name": names, "description": described, "type": kinds}
    _write(pa.table(columns), folder / "entities.tsv")
    _write(pa.table({"key": relations, "name": relations}), folder / "relations.tsv")
    with ExitStack() as files:
        writers = {
            split: files.enter_context(csv.CSVWriter(folder / f"{split}.tsv", SCHEMA, write_options=_options()))
            for split in SPLITS
        }
        for of_relation in graph.triples():
            for split, triples in of_relation.items():
                ends = [entities.take(triples[:, 0]), relations.take(triples[:, 1]), entities.take(triples[:, 2])]
                writers[split].write_table(pa.table(ends, schema=SCHEMA))


def write_features(graph: SyntheticGraph, path: Path, width: int) -> None:
    """Write the features as a float32 ``.npy`` file ``[N, width]``, which can be imported and memory-mapped."""
    array = np.lib.format.open_memmap(path, "w+", np.float32, (graph.n_entities, width))
    start = 0
    for rows in graph.features(width):
        array[start : start + len(rows)] = rows
        start += len(rows)
    array.flush()


def keys(graph: SyntheticGraph) -> tuple[pa.Array, pa.Array]:
    """Keys of entities and relations: ``e0``, …; ``r0``, …"""
    counts = {"e": graph.n_entities, "r": graph.n_relations}
    entities, relations = (
        pc.binary_join_element_wise(letter, pa.array(np.arange(n, dtype=np.int32)).cast(pa.string()), "")
        for letter, n in counts.items()
    )
    return entities, relations


def _write(table: pa.Table, path: Path) -> None:
    csv.write_csv(table, path, _options())


def _options() -> csv.WriteOptions:
    return csv.WriteOptions(delimiter="\t", quoting_style="none", quoting_header="none")


def _shares(total: int, parts: int) -> np.ndarray:
    """``total`` in ``parts`` by Zipf's law, int64 ``[parts]``, each at least 1, in descending order."""
    weights = 1 / np.arange(1, parts + 1)
    shares = 1 + np.floor((total - parts) * weights / weights.sum()).astype(np.int64)
    shares[0] += total - shares.sum()
    return shares


def _popular(random: np.random.Generator, limits: np.ndarray) -> np.ndarray:
    """For each of ``limits`` an integer k below it, with probability about proportional to (k + 1)^−a."""
    power = 1 - DEGREE_EXPONENT
    draw = (1 + random.random(len(limits)) * ((limits + 1.0) ** power - 1)) ** (1 / power)
    return np.minimum(draw.astype(np.int64) - 1, limits - 1)
