"""A dataset as read: well-formed, but not yet checked for consistency between files."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mmkgc.components.dataset.lines import Rows, read_bytes
from mmkgc.components.dataset.modalities.base import Contents
from mmkgc.components.kge.vocabulary import Vocabulary
from mmkgc.components.runtime import yaml_text
from mmkgc.components.runtime.errors import UserError, did_you_mean, shown

CARD = "dataset.yaml"
LONGEST_NAME, LONGEST_TEXT = 500, 5000  # characters; the first is MLflow's limit

Columns = Literal["htr", "hrt"]  # order in a row of triples: head, tail, relation or head, relation, tail


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
class RawGraph:
    """The result of a reader. ``contents`` of each modality, as read, and ``types`` have one value per entity.

    ``files`` are the names of the dataset's files, ``unread`` the names of similar files that are not read;
    ``negatives`` the triples that are known to be false.
    """

    folder: Path
    card: Card
    files: tuple[str, ...]
    entities: Vocabulary
    relations: Vocabulary
    train: Split
    valid: Split | None
    test: Split
    contents: Mapping[str, Contents]
    types: tuple[str, ...] | None
    unread: tuple[str, ...] = ()
    negatives: Split | None = None

    def codes(self, triples: np.ndarray) -> np.ndarray:
        """One integer per triple, int64 ``[T]``; equal triples have equal codes."""
        codes = triples[:, 0].astype(np.int64)
        for column, size in ((1, len(self.relations)), (2, len(self.entities))):  # in place: there may be many
            codes *= size
            codes += triples[:, column]
        return codes

    @cached_property
    def train_codes(self) -> np.ndarray:
        """Codes of the train triples in ascending order, int64 ``[T]``."""
        codes = self.codes(self.train.triples)
        codes.sort()
        return codes

    def in_train(self, codes: np.ndarray) -> np.ndarray:
        """Which ``codes`` are those of train triples, bool of the same shape."""
        if not len(self.train_codes):
            return np.zeros(codes.shape, bool)
        places = np.searchsorted(self.train_codes, codes)
        return self.train_codes[np.minimum(places, len(self.train_codes) - 1)] == codes
