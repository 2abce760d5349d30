"""A dataset as read: well-formed, but not yet checked for consistency between files."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mmkgc.components.dataset.lines import Rows, read_bytes
from mmkgc.components.dataset.modalities.base import Contents
from mmkgc.components.dataset.strings import Strings
from mmkgc.components.kge.vocabulary import Vocabulary
from mmkgc.components.runtime import yaml_text
from mmkgc.components.runtime.errors import UserError, did_you_mean, shown

CARD = "dataset.yaml"
LONGEST_NAME, LONGEST_TEXT = 500, 5000  # characters; the first is MLflow's limit

BLOCK, PART = 1 << 18, 1 << 20  # triples of which codes are made, and sorted, at once

Columns = Literal["htr", "hrt"]  # order in a row of triples: head, tail, relation or head, relation, tail


def blocks(triples: np.ndarray) -> Iterator[np.ndarray]:
    """The rows of ``triples``, BLOCK at a time; at least one block, which may be empty."""
    yield from (triples[start : start + BLOCK] for start in range(0, max(1, len(triples)), BLOCK))


class Card(BaseModel):
    """``dataset.yaml``; all keys are optional."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("", max_length=LONGEST_NAME)
    source: str = Field("", max_length=LONGEST_TEXT)
    licence: str = Field("", max_length=LONGEST_TEXT)
    columns: Columns | None = None
    prefixes: dict[str, str] = Field(default_factory=dict, max_length=1000)  # of the IRIs that are keys

    @classmethod
    def read(cls, folder: Path) -> "Card":
        """The card of a dataset folder, by default named as the folder. Raises UserError for a wrong key or value."""
        path = folder / CARD
        try:
            content = yaml_text.load(read_bytes(path, "mend or delete it").decode()) if os.path.lexists(path) else {}
            return cls.model_validate({"name": folder.resolve().name} | (content or {}))
        except ValidationError as failure:
            error = failure.errors()[0]
            key = shown(error["loc"][0])
            if key not in cls.model_fields:
                raise UserError(path, f"unknown key '{key}'", did_you_mean(key, cls.model_fields)) from failure
            raise UserError(path, f"wrong value of '{key}'", error["msg"]) from failure
        except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:  # ValueError: bytes, huge integers
            mend = "write it as `key: value` lines in UTF-8; keys are " + ", ".join(cls.model_fields)
            problem = getattr(error, "problem", None)
            raise UserError(path, f"not a YAML mapping{f' ({problem})' if problem else ''}", mend) from error


@dataclass(frozen=True)
class Split:
    """Triples of one file, ids int32 or int64 ``[T, 3]`` in the order head, relation, tail, with the place of each.

    ``confidence`` float64 ``[T]``, in (0, 1]: how certain each is; None: all are certain.
    """

    lines: Rows
    triples: np.ndarray
    confidence: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.triples)


@dataclass(frozen=True)
class Terms:
    """Keys and names of entities or relations, in Arrow's memory; the id is the position."""

    keys: Strings
    names: Strings

    def __len__(self) -> int:
        return len(self.keys)

    def vocabulary(self) -> Vocabulary:
        """The same in Python's memory."""
        return Vocabulary(tuple(self.keys), tuple(self.names))


@dataclass(frozen=True)
class RawGraph:
    """The result of a reader. ``contents`` of each modality, as read, and ``types`` have one value per entity.

    ``files`` are the names of the dataset's files, ``unread`` the names of similar files that are not read;
    ``negatives`` the triples that are known to be false.
    """

    folder: Path
    card: Card
    files: tuple[str, ...]
    entities: Terms
    relations: Terms
    train: Split
    valid: Split | None
    test: Split
    contents: Mapping[str, Contents]
    types: Strings | None
    unread: tuple[str, ...] = ()
    negatives: Split | None = None

    def codes(self, triples: np.ndarray) -> np.ndarray:
        """One integer per triple, int64 ``[T]``; equal triples have equal codes."""
        codes = triples[:, 0].astype(np.int64)
        for column, size in ((1, len(self.relations)), (2, len(self.entities))):  # in place: there may be many
            codes *= size
            codes += triples[:, column]
        return codes

    def repeats(self, triples: np.ndarray) -> bool:
        """Whether a triple is twice among ``triples``. A part at a time is sorted, which bounds the memory."""
        parts = 1 + len(triples) // PART
        for part in range(parts):
            codes = np.concatenate([some[some % parts == part] for some in map(self.codes, blocks(triples))])
            codes.sort()
            if (codes[1:] == codes[:-1]).any():
                return True
        return False

    def in_train(self, codes: np.ndarray) -> np.ndarray:
        """Which ``codes`` are those of train triples, bool of the same shape."""
        asked = np.unique(codes)
        if not len(asked):
            return np.zeros(codes.shape, bool)
        found = np.zeros(len(asked), bool)
        for some in map(self.codes, blocks(self.train.triples)):
            places = np.searchsorted(asked, some)
            places[places == len(asked)] = 0
            found[places[asked[places] == some]] = True
        return found[np.searchsorted(asked, codes)]
