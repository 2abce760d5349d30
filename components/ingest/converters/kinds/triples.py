"""One table of triples, without splits."""

from pathlib import Path

from mmkgc.components.ingest.converters.base import Converter, Wishes
from mmkgc.components.ingest.converters.cells import TABLES, files_of
from mmkgc.components.ingest.converters.columns import ROLES, TripleColumns, holds_triples
from mmkgc.components.ingest.converters.companions import add_companions
from mmkgc.components.ingest.converters.draft import UNSPLIT, Draft
from mmkgc.components.runtime.errors import UserError


class Triples(Converter):
    """A table of three columns, with or without a header, alone or in a folder with files about its keys."""

    rank = 40
    needs = "a table of triples (head, relation, tail)"
    roles = frozenset(ROLES)

    def recognises(self, source: Path, wishes: Wishes) -> bool:
        """Whether it is a table of triples, or a folder with one."""
        return bool(_tables(source, wishes))

    def read(self, source: Path, wishes: Wishes, name: str) -> Draft:
        """Read the triples, and in a folder the files about their keys."""
        tables = _tables(source, wishes)
        columns = TripleColumns(wishes.columns)
        for table in tables:
            columns.read(UNSPLIT, table)
        draft = Draft(name, str(source))
        columns.put(draft)
        if not len(draft.triples(UNSPLIT)):
            raise UserError(source, "there are no triples in it", "write head, relation and tail into it")
        if source.is_dir():
            add_companions(draft, (path for path in source.iterdir() if path.is_file() and path not in tables))
        return draft


def _tables(source: Path, wishes: Wishes) -> list[Path]:
    """The tables of triples; every table is one if the user says which of its columns is the relation."""
    tables = files_of(source, TABLES)
    return tables if {*ROLES} <= {*wishes.columns.values()} else [path for path in tables if holds_triples(path)]
