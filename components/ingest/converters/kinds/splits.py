"""Folders of benchmarks: ``train``, ``valid`` and ``test`` as tables of triples, and files about their keys."""

import re
from pathlib import Path

from mmkgc.components.ingest.converters.base import Converter, Wishes
from mmkgc.components.ingest.converters.cells import TABLES, files_of, stem_of
from mmkgc.components.ingest.converters.columns import ROLES, TripleColumns
from mmkgc.components.ingest.converters.companions import add_companions
from mmkgc.components.ingest.converters.draft import Draft
from mmkgc.components.runtime.errors import UserError

NAMES = {"train": "train|training", "valid": "valid|validation|val|dev", "test": "test|testing"}


class Splits(Converter):
    """A folder with ``train.txt``, ``valid.txt`` and ``test.txt``, as FB15k-237 and WN18RR come."""

    rank = 20
    needs = "a folder with train, valid and test as tables of triples"
    roles = frozenset(ROLES)

    def recognises(self, source: Path, wishes: Wishes) -> bool:
        """Whether the folder has a table of train triples."""
        return source.is_dir() and "train" in _files(source)

    def read(self, source: Path, wishes: Wishes, name: str) -> Draft:
        """Read every split; the files beside them that are about their keys give names, texts and numbers."""
        files = _files(source)
        columns = TripleColumns(wishes.columns)
        for split, path in files.items():
            columns.read(split, path)
        draft = Draft(name, str(source))
        columns.put(draft)
        if not len(draft.triples("train")):
            raise UserError(files["train"], "there are no triples in it", "write head, relation and tail into it")
        others = (path for path in source.iterdir() if path.is_file() and path not in files.values())
        add_companions(draft, others)
        return draft


def _files(folder: Path) -> dict[str, Path]:
    """The table of each split that is there; names may have a prefix, such as ``wn18-train.txt``."""
    found = {}
    tables = files_of(folder, TABLES)
    for split, names in NAMES.items():
        fitting = [path for path in tables if re.search(rf"(?:^|[-_. ])(?:{names})$", stem_of(path).lower())]
        if fitting:
            found[split] = min(fitting, key=lambda path: len(path.name))
    return found
