"""Names and keys of entities or relations: exact resolution and fuzzy search."""

import unicodedata
from collections import defaultdict
from functools import cached_property

from rapidfuzz import fuzz, process

from mmkgc.components.kge.graph import Vocabulary
from mmkgc.serving.api.protocol import ErrorCode, QueryError

NEAREST = 5
ALIKE = 60


class Labels:
    """Resolves and searches the labels (keys and names) of a vocabulary of entities or relations."""

    def __init__(self, vocabulary: Vocabulary, kind: str) -> None:
        self.vocabulary, self.kind = vocabulary, kind

    def __len__(self) -> int:
        return len(self.vocabulary)

    def item(self, index: int) -> dict[str, str]:
        """Key and name of an id."""
        return {"key": self.vocabulary.keys[index], "name": self.vocabulary.names[index]}

    def resolve(self, label: str, suggest: bool = True) -> int:
        """The id of ``label``: an exact key, else the only name or key equal to it up to case and Unicode form.

        Raises ``QueryError`` if none or several are equal. The error lists the nearest labels if there is none and
        ``suggest`` is set (this compares all labels: 2 ms for 15,000), or the equal ones (at most 20) if there are
        several.
        """
        exact = self.vocabulary.ids.get(label)
        if exact is not None:
            return exact
        ids = self._ids_by_folded.get(_folded(label), [])
        if len(ids) == 1:
            return ids[0]
        if ids:
            message = f"{self.kind} '{label}' is ambiguous; give one of the {len(ids)} keys"
            raise QueryError(ErrorCode(f"ambiguous_{self.kind}"), message, [self.item(index) for index in ids[:20]])
        message = f"there is no {self.kind} '{label}'"
        nearest = [self.item(index) for index in self._similar(label, NEAREST, least=0)] if suggest else []
        raise QueryError(ErrorCode(f"unknown_{self.kind}"), message, nearest)

    def search(self, text: str, limit: int) -> list[int]:
        """Ids whose name or key matches ``text``: equal, then prefix, start of a word, substring, and similar ones."""
        folded = _folded(text).strip()
        if not folded:
            return list(range(min(limit, len(self))))
        ranked = sorted(
            (_closeness(label, folded), len(label), label) for label in self._ids_by_folded if folded in label
        )
        found = [index for _, _, label in ranked[:limit] for index in self._ids_by_folded[label]]
        if len(found) < limit:
            found += self._similar(folded, limit, least=ALIKE)
        return list(dict.fromkeys(found))[:limit]

    def _similar(self, text: str, limit: int, least: float) -> list[int]:
        """Ids of the most similar labels by edit distance; ``least`` is the minimum similarity, 0 to 100."""
        hits = process.extract(_folded(text), self._folded, scorer=fuzz.ratio, limit=limit, score_cutoff=least)
        ids = [index for label, _, _ in hits for index in self._ids_by_folded[label]]
        return list(dict.fromkeys(ids))[:limit]

    @cached_property
    def _ids_by_folded(self) -> dict[str, list[int]]:
        ids: dict[str, list[int]] = defaultdict(list)
        for index, (key, name) in enumerate(zip(self.vocabulary.keys, self.vocabulary.names, strict=True)):
            ids[_folded(name)].append(index)
            if _folded(key) != _folded(name):
                ids[_folded(key)].append(index)
        return dict(ids)

    @cached_property
    def _folded(self) -> list[str]:
        return list(self._ids_by_folded)


def _folded(text: str) -> str:
    """Normalized label: equal for labels that differ only in case or in the Unicode form of accents."""
    return unicodedata.normalize("NFC", text.casefold())


def _closeness(label: str, text: str) -> int:
    if label == text:
        return 0
    if label.startswith(text):
        return 1
    return 2 if f" {text}" in label else 3
