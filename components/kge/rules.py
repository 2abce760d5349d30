"""Rules of one or two steps, mined from the train triples.

A rule r(x, y) ← b₁(x, z), b₂(z, y) says that r holds where its body does; a body may also be one relation, b(x, y).
Relations are directed: id r < R for (x, r, y), R + r for the reverse. N entities, R relations, T triples.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from mmkgc.components.kge.evaluation.ranks import Untrained
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL

DOUBT = 5  # imagined pairs that contradict a rule, so that few observations give little confidence
HIGHEST = 0.99
Pairs: TypeAlias = Any  # scipy.sparse.csr_matrix, which has no types


class Rule(NamedTuple):
    """``head`` ← ``body``: a relation, and one or two directed relations.

    ``support``: the pairs of entities for which both hold; ``confidence``: support / (pairs of the body + 5).
    """

    head: int
    body: tuple[int, ...]
    confidence: float
    support: int


class Rules:
    """The rules of a graph, and what they say about its entities."""

    def __init__(self, triples: Tensor, n_entities: int, n_relations: int) -> None:
        self.n_entities, self.n_relations = n_entities, n_relations
        heads, relations, tails = (triples[:, column].cpu().numpy() for column in (HEAD, RELATION, TAIL))
        forward = [self._pairs(heads[relations == r], tails[relations == r]) for r in range(n_relations)]
        self.relations = [*forward, *(pairs.T.tocsr() for pairs in forward)]
        codes = heads * n_entities + tails
        order = np.argsort(codes, kind="stable")
        self._codes, self._told = codes[order], relations[order]

    def mine(self, least_support: int = 3, least_confidence: float = 0.03, most_pairs: int = 100_000) -> list[Rule]:
        """All rules with enough support and confidence, the most confident first.

        Those about an inverse relation are left out, since they say the same: r⁻¹ ← b₁, b₂ is r ← b₂⁻¹, b₁⁻¹.

        Bodies of two relations with more than ``most_pairs`` paths, through hubs such as a gender, are left out.
        """
        found: list[Rule] = []
        for body in self._bodies(most_pairs):
            codes = self._codes_of(body)
            for head, support in enumerate(self._supports(codes)):
                confidence = support / (len(codes) + DOUBT)
                if support >= least_support and confidence >= least_confidence and body != (head,):
                    found.append(Rule(head, body, float(confidence), int(support)))
        return sorted(found, key=lambda rule: -rule.confidence)

    def counts(self, head: int, body: tuple[int, ...]) -> tuple[int, int]:
        """Support of a rule, and the pairs of two entities for which its body holds."""
        codes = self._codes_of(body)
        return int(self._supports(codes)[head]), len(codes)

    def between(self, one: int, other: int) -> dict[tuple[int, ...], int | None]:
        """Bodies that hold from one entity to another, with an entity on the way; None if the body is one relation.

        An entity on the way is a third one, so that no body of two relations contains a fact about the pair itself.
        """
        found: dict[tuple[int, ...], int | None] = {}
        to, reached = self._relations_to(other), self._relations_to(one)  # reached: inverse relations from ``one``
        for relation in reached.get(other, ()):
            found[self._inverse(relation),] = None
        for middle in sorted((to.keys() & reached.keys()) - {one, other}):
            for first in reached[middle]:
                for second in to[middle]:
                    found.setdefault((self._inverse(first), second), middle)
        return found

    def paths(self, body: tuple[int, ...]) -> int:
        """Number of paths along a body: a bound of the pairs for which it holds."""
        lengths = [np.diff(self.relations[relation].indptr).astype(np.int64) for relation in body]
        reached = np.diff(self.relations[self._inverse(body[0])].indptr)
        return int(lengths[0].sum() if len(body) == 1 else reached @ lengths[1])

    def body(self, body: tuple[int, ...]) -> Pairs:
        """Pairs ``[N, N]`` of entities between which the body holds, each 1."""
        found = self.relations[body[0]] if len(body) == 1 else self.relations[body[0]] @ self.relations[body[1]]
        found = found.copy()
        found.data[:] = 1
        return found

    def _inverse(self, relation: int) -> int:
        return (relation + self.n_relations) % len(self.relations)

    def _relations_to(self, entity: int) -> dict[int, list[int]]:
        """Entities from which directed relations lead to ``entity``, with these relations."""
        found: dict[int, list[int]] = {}
        for relation in range(len(self.relations)):
            pairs = self.relations[self._inverse(relation)]
            for other in pairs.indices[pairs.indptr[entity] : pairs.indptr[entity + 1]].tolist():
                found.setdefault(other, []).append(relation)
        return found

    def _codes_of(self, body: tuple[int, ...]) -> NDArray[np.int64]:
        """Codes of the pairs of two entities between which the body holds."""
        holds = self.body(body).tocoo()
        others = holds.row != holds.col
        return holds.row[others].astype(np.int64) * self.n_entities + holds.col[others]

    def _pairs(self, rows: NDArray, columns: NDArray) -> Pairs:
        shape = self.n_entities, self.n_entities
        found = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape)
        found.data[:] = 1
        return found

    def _bodies(self, most_pairs: int) -> Iterator[tuple[int, ...]]:
        counts = [np.diff(pairs.indptr).astype(np.float64) for pairs in self.relations]
        yield from ((relation,) for relation in range(len(self.relations)))
        for first in range(len(self.relations)):
            reached = counts[self._inverse(first)]
            for second, onward in enumerate(counts):
                if 0 < reached @ onward <= most_pairs:
                    yield first, second

    def _supports(self, codes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number of the pairs ``codes`` between which each relation holds in train, ``[R]``."""
        low, high = (np.searchsorted(self._codes, codes, side) for side in ("left", "right"))
        count = high - low
        within = np.arange(count.sum()) - np.repeat(count.cumsum() - count, count)
        return np.bincount(self._told[np.repeat(low, count) + within], minlength=self.n_relations)


class RuleScores(Untrained):
    """Scores by rules: log of the noisy-or of the confidences of all rules whose body holds, 1 − Π (1 − cᵢ).

    ``most`` rules of a relation are applied. ``floor`` is the probability of an answer that no rule names; scores are
    logarithms over that of the floor, so they are 0 there. Can be ranked like a model.
    """

    def __init__(self, rules: Rules, mined: list[Rule], most: int = 60, floor: float = 0.003) -> None:
        self.floor, size = floor, rules.n_relations
        tails = [sparse.csr_matrix((rules.n_entities, rules.n_entities), dtype=np.float32) for _ in range(size)]
        applied = np.zeros(size, int)
        for rule in mined:
            if applied[rule.head] < most:
                applied[rule.head] += 1
                doubt = np.float32(-np.log1p(-min(rule.confidence, HIGHEST)))
                tails[rule.head] = tails[rule.head] + rules.body(rule.body) * doubt
        self.tails, self.heads = tails, [table.T.tocsr() for table in tails]

    def score_tails(self, heads: Tensor, relations: Tensor) -> Tensor:
        """Scores ``[B, N]`` of every entity as the tail of ``(heads[B], relations[B], ?)``."""
        return self._scores(self.tails, heads, relations)

    def score_heads(self, relations: Tensor, tails: Tensor) -> Tensor:
        """Scores ``[B, N]`` of every entity as the head of ``(?, relations[B], tails[B])``."""
        return self._scores(self.heads, tails, relations)

    def _scores(self, tables: list[Pairs], known: Tensor, relations: Tensor) -> Tensor:
        entities, doubts = known.cpu().numpy(), torch.zeros(len(known), tables[0].shape[1])
        for relation in relations.unique().tolist():
            rows = (relations == relation).nonzero().squeeze(1).cpu()
            doubts[rows] = torch.from_numpy(tables[relation][entities[rows.numpy()]].toarray())
        return torch.log1p(-torch.expm1(-doubts) / self.floor).to(known.device)
