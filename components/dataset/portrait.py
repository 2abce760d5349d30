"""What a graph is like, in a few lines: sizes, types, degrees, relations that say the same, what is missing."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmkgc.components.dataset.patterns import Pattern, revealed
from mmkgc.components.dataset.profile import unseen
from mmkgc.components.kge.vocabulary import HEAD, RELATION, TAIL
from mmkgc.components.runtime.nouns import counted

SHOWN = 5  # types, relations and attributes of a line
LARGE = 0.05  # share of test triples that can be read off train, from which the split misleads


@dataclass(frozen=True)
class Portrait:
    """A graph without its vocabularies' keys: ``relations`` are names, ``triples`` int64 ``[T, 3]`` by split.

    ``types``, ``described`` and ``pictured`` are of entities; ``attributes`` counts the numbers of each attribute.
    """

    entities: int
    relations: Sequence[str]
    splits: Mapping[str, np.ndarray]
    types: Sequence[str]
    described: int
    pictured: int
    numbered: int
    attributes: Mapping[str, int]
    patterns: Sequence[Pattern]

    @property
    def triples(self) -> np.ndarray:
        """The triples of all splits, int64 ``[T, 3]``."""
        return np.concatenate(list(self.splits.values()))

    @property
    def revealed(self) -> float:
        """Share of the test triples that train repeats in a linked relation."""
        test, train = self.splits["test"], self.splits["train"]
        return float(revealed(test, train, self.patterns).mean()) if len(test) else 0.0

    def lines(self) -> Iterator[str]:
        """One line about each aspect, without those that the graph lacks."""
        yield f"entities     {self.entities:,}{_most(Counter(filter(None, self.types)), ' of types ')}"
        counts = np.bincount(self.triples[:, RELATION], minlength=len(self.relations))
        by_name = Counter(dict(zip(self.relations, counts.tolist(), strict=True)))
        yield f"relations    {len(self.relations):,}{_most(by_name, ': ')}"
        yield f"triples      {', '.join(f'{len(part):,} {name}' for name, part in self.splits.items())}"
        yield self._degrees()
        yield f"texts        {self._share(self.described)}"
        yield f"pictures     {self._share(self.pictured)}"
        yield f"numbers      {self._share(self.numbered)}{_most(Counter(self.attributes), ': ')}"
        yield from self._patterns()

    def warnings(self) -> Iterator[str]:
        """What misleads whoever reads the results."""
        if (share := self.revealed) >= LARGE:
            yield (
                f"LEAKAGE: {share:.0%} of the test triples can be read off train by inverse, symmetric or duplicate "
                "relations: results on this split overstate what is learned"
            )
        missing = unseen(self.splits["train"], self.splits["test"])
        if missing:
            have = counted(missing, "test triple has", "test triples have")
            yield f"{have} an entity that train never shows: only its content tells"

    def _degrees(self) -> str:
        degrees = np.bincount(self.triples[:, [HEAD, TAIL]].ravel(), minlength=self.entities)
        once = (degrees <= 1).mean() if len(degrees) else 0.0
        middle, most = np.median(degrees), degrees.max(initial=0)
        return f"degrees      median {middle:.0f}, largest {most:,}; {once:.0%} of the entities have one fact or none"

    def _share(self, count: int) -> str:
        return f"of {counted(count, 'entity')} ({count / max(self.entities, 1):.0%})" if count else "none"

    def _patterns(self) -> Iterator[str]:
        told = set()
        for kind in ("symmetric", "inverse", "duplicate"):
            found = []
            for pattern in self.patterns:
                pair = frozenset((pattern.relation, pattern.other))
                if pattern.kind == kind and (kind, pair) not in told:
                    told.add((kind, pair))
                    found.append(" ↔ ".join(dict.fromkeys(self.relations[one] for one in pattern[1:3])))
            if found:
                more = f", … ({len(found)})" if len(found) > SHOWN else ""
                yield f"{kind:<13}{', '.join(found[:SHOWN])}{more}"


def _most(counts: "Counter[str]", before: str) -> str:
    if not counts:
        return ""
    more = ", …" if len(counts) > SHOWN else ""
    return before + ", ".join(f"{name} {count:,}" for name, count in counts.most_common(SHOWN)) + more
