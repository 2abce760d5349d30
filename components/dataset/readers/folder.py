"""The dataset folder: tab-separated files of keys and names.

``train.tsv``, ``valid.tsv`` (optional, also called ``dev.tsv``), ``test.tsv``: keys ``head relation tail``; this
header is optional. With the header ``head relation tail confidence``, each row of ``train.tsv`` states how certain it
is. ``negatives.tsv`` (optional): triples that are known to be false.
``entities.tsv``: header ``key name`` and, optionally, ``description``, ``image`` (paths relative to the folder, several
separated by ``|``) and ``type``. ``relations.tsv``: header ``key name``. ``dataset.yaml``: see ``Card``.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rapidfuzz import process

from mmkgc.components.dataset.checks import good_keys, refuse_bad_keys
from mmkgc.components.dataset.key_index import KeyIndex
from mmkgc.components.dataset.lines import Lines, Rows
from mmkgc.components.dataset.modalities import MODALITIES, MODALITY_FILES
from mmkgc.components.dataset.modalities.base import Contents
from mmkgc.components.dataset.modalities.files import FileModality
from mmkgc.components.dataset.raw import Card, RawGraph, Split, Terms
from mmkgc.components.dataset.stream import first_line, read_columns, read_ids
from mmkgc.components.dataset.strings import Strings
from mmkgc.components.kge.vocabulary import PARTS
from mmkgc.components.runtime.errors import LONGEST_VALUE, UserError, did_you_mean, looks_like, shown
from mmkgc.components.runtime.faults import Faults

ENTITIES, RELATIONS = "entities.tsv", "relations.tsv"
FILES = ("train.tsv", "valid.tsv", "test.tsv", ENTITIES, RELATIONS)
VALID = ("valid.tsv", "dev.tsv", "val.tsv", "validation.tsv")
NEEDS = "train.tsv, test.tsv, entities.tsv and relations.tsv (valid.tsv if there is a development split)"
NEGATIVES = "negatives.tsv"
ENDINGS = (".tsv", "2id.txt")  # of tables like ours, and of OpenKE's files
TRIPLE = list(PARTS)
CONFIDENCE = "confidence"
NUMBER = r"^\s*(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"
KEYED = ["key", "name"]
OPTIONAL = [*(modality.column for modality in MODALITIES.values() if modality.column), "type"]


def read(folder: Path) -> RawGraph:
    """The dataset in ``folder``. Raises UserError, with file and line, for anything malformed, all faults at once."""
    faults = Faults()
    tables: dict[str, dict[str, Strings]] = {}
    splits: dict[str, Split] = {}
    contents: dict[str, Contents] = {}
    files = files_of(folder)
    with faults:
        card = Card.read(folder)
    for name, optional in ((ENTITIES, OPTIONAL), (RELATIONS, [])):
        with faults:
            tables[name] = table(folder / name, optional)
    if len(tables) < 2:
        faults.refuse()
    entity_columns, relation_columns = tables[ENTITIES], tables[RELATIONS]
    entities, relations = _terms(entity_columns), _terms(relation_columns)  # all columns before triples take memory
    types = entity_columns["type"].stripped() if "type" in entity_columns else None
    for name, modality in MODALITIES.items():
        with faults:
            contents[name] = modality.read(folder, entity_columns)
    split = SplitReader(folder, entity_columns["key"], relation_columns["key"])
    valid = next((name for name in files if name in VALID), None)
    negatives = NEGATIVES if NEGATIVES in files else None
    for name in filter(None, ("train.tsv", valid, "test.tsv", negatives)):
        with faults:
            splits[name] = split.read(name, weighted=name == "train.tsv")
    faults.refuse()
    return RawGraph(
        folder=folder,
        card=card,
        files=files,
        entities=entities,
        relations=relations,
        train=splits["train.tsv"],
        valid=splits[valid] if valid else None,
        test=splits["test.tsv"],
        contents=contents,
        types=types if types and any(types) else None,
        unread=_unread(folder, files),
        negatives=splits[negatives] if negatives else None,
    )


def files_of(folder: Path) -> tuple[str, ...]:
    """Names of the files that make up the dataset, present or not (a development split and negatives: present)."""
    valid = next((name for name in VALID if os.path.lexists(folder / name)), None)
    negatives = NEGATIVES if os.path.lexists(folder / NEGATIVES) else None
    return tuple(name for name in (FILES[0], valid, *FILES[2:], negatives, *MODALITY_FILES) if name)


def _unread(folder: Path, files: Sequence[str]) -> tuple[str, ...]:
    """Names of files that look like parts of the dataset, but are not read: other tables, other forms of its files."""
    stems = {name.partition(".")[0] for name in (*FILES, *VALID, NEGATIVES, *MODALITY_FILES)}
    names = (path.name for path in folder.iterdir() if path.name not in files and not path.is_dir())
    alike = (name for name in names if name.endswith(ENDINGS) or name.lower().partition(".")[0] in stems)
    return tuple(sorted(alike))


def contents_of(folder: Path) -> list[str]:
    """Paths of all images and other files in ``entities.tsv``. Raises UserError if it is malformed."""
    columns = table(folder / ENTITIES, OPTIONAL)
    kinds = [modality for modality in MODALITIES.values() if isinstance(modality, FileModality)]
    return sorted({path for kind in kinds for paths in kind.read(folder, columns) for path in paths})


def table(path: Path, optional: list[str]) -> dict[str, Strings]:
    """Columns by name of a file whose header begins with ``key name``; keys are unique.

    Raises UserError, with file and line, for anything malformed.
    """
    return _streamed(path, optional) or _by_lines(path, optional)


def _streamed(path: Path, optional: list[str]) -> dict[str, Strings] | None:
    """The columns, read by blocks; None if there may be a fault, which ``_by_lines`` finds and reports."""
    first = first_line(path) or ""
    header = [name.strip().lower() for name in first.split("\t")]
    if header[:2] != KEYED or not set(header[2:]) <= set(optional) or len(set(header)) < len(header):
        return None
    columns = read_columns(path, header)
    if not columns or not len(columns[0]):
        return None
    keys, repeated = columns[0], pa.scalar(first.partition("\t")[0].lower())
    if pc.any(pc.equal(pc.ascii_lower(keys), repeated)).as_py() or not good_keys(keys):
        return None
    return {name: Strings(column) for name, column in zip(header, columns, strict=True)}


def _by_lines(path: Path, optional: list[str]) -> dict[str, Strings]:
    lines = Lines.read(path, f"the folder needs {NEEDS}")
    first = lines.text[0].as_py() if len(lines) else ""
    header = [name.strip().lower() for name in first.split("\t")]
    if header[:2] != KEYED:
        what = f"the header 'key name' is missing; found '{shown(first)}'"
        raise UserError(lines.at(0), what, "make the first line key and name, separated by a tab")
    for name in header[2:]:
        if name not in optional or header.count(name) > 1:
            advice = did_you_mean(name, optional) if optional else "only key and name belong here"
            raise UserError(lines.at(0), f"unknown or repeated column '{shown(name)}'", advice)
    rows = lines.after(1)
    repeated = pc.equal(pc.utf8_lower(rows.text), first.lower()).to_numpy(zero_copy_only=False)
    rows.refuse_if(repeated, lambda row: "the header is repeated", "delete this line")
    if not len(rows):
        raise UserError(path, "no rows follow the header", "list every key of the triples, one a line")
    columns = dict(zip(header, (column.to_pylist() for column in rows.fields(header)), strict=True))
    refuse_bad_keys(rows, columns["key"])
    return {name: Strings.of(values) for name, values in columns.items()}


def _terms(columns: dict[str, Strings]) -> Terms:
    return Terms(columns["key"], columns["name"].stripped().where_blank(columns["key"]))


class SplitReader:
    """Turns the keys of triples into ids.

    ``needs`` describes the required files of the folder; ``files`` are the dataset's files that list the keys.
    """

    def __init__(
        self,
        folder: Path,
        entities: Sequence[str],
        relations: Sequence[str],
        needs: str = NEEDS,
        files: tuple[str, str] = ("entities.tsv", "relations.tsv"),
    ) -> None:
        self.folder, self.needs, self.files = folder, needs, files
        entity_keys, relation_keys = (Strings.of(keys).array for keys in (entities, relations))
        self.keys = {"head": entity_keys, "relation": relation_keys, "tail": entity_keys}
        of_entities, of_relations = KeyIndex(entity_keys), KeyIndex(relation_keys)
        self._indices = [of_entities, of_relations, of_entities]

    def read(self, name: str, weighted: bool = False) -> Split:
        """The triples of a file; ``weighted``: it may have the column of confidence.

        Raises UserError, with file and line, for anything malformed.
        """
        path = self.folder / name
        if streamed := read_ids(path, self._indices):
            first, triples = streamed
            return Split(Rows(path, first), triples)
        lines = Lines.read(path, f"the folder needs {self.needs}")
        header = _header(lines, weighted)
        lines = lines.after(1) if header else lines
        names = header or TRIPLE
        columns = dict(zip(names, lines.fields(names), strict=True))
        confidence = _confidence(lines, columns.pop(CONFIDENCE)) if CONFIDENCE in names else None
        ids = {side: pc.index_in(keys, self.keys[side].cast(keys.type)) for side, keys in columns.items()}
        missing = {side: found.is_null().to_numpy(zero_copy_only=False) for side, found in ids.items()}
        _refuse_headers(lines, np.logical_and.reduce(list(missing.values())))

        def key_at(row: int) -> tuple[str, str]:
            side = next(side for side in TRIPLE if missing[side][row])
            return side, columns[side][row].as_py()

        lines.refuse_if(
            np.logical_or.reduce(list(missing.values())),
            lambda row: self._what(*key_at(row)),
            lambda row: self._mend(*key_at(row)),
        )
        rows = np.stack([found.to_numpy(zero_copy_only=False) for found in ids.values()], 1).astype(int)
        return Split(lines, rows, confidence)

    def _what(self, side: str, key: str) -> str:
        if self._is_misplaced(side, key):
            return f"'{shown(key)}' in the {side} column is {'an entity' if side == 'relation' else 'a relation'}"
        return f"{side} '{shown(key)}' is not in {self._file_of(side)}"

    def _mend(self, side: str, key: str) -> str:
        if self._is_misplaced(side, key):
            return "the columns are head, relation, tail: put them in this order"
        keys, file = self.keys[side].to_pylist(), self._file_of(side)
        if advice := looks_like(key, keys):
            return advice
        near = process.extractOne(key[:LONGEST_VALUE], keys, processor=str.casefold, score_cutoff=75)
        return f"add it to {file}" + (f"; or did you mean '{shown(near[0])}'?" if near else "")

    def _is_misplaced(self, side: str, key: str) -> bool:
        others = self.keys["head" if side == "relation" else "relation"]
        return pc.index(others, pa.scalar(key, pa.string())).as_py() >= 0

    def _file_of(self, side: str) -> str:
        return self.files[side == "relation"]


def _header(lines: Lines, weighted: bool) -> list[str] | None:
    """The columns that the first line names; None if it names none. Raises UserError for another order or column."""
    first = [name.strip() for name in lines.text[0].as_py().lower().split("\t")] if len(lines) else []
    if first == [*TRIPLE, CONFIDENCE] and not weighted:
        what = f"the column '{CONFIDENCE}' belongs to train.tsv alone"
        raise UserError(lines.at(0), what, "delete the column: facts of other files count in full")
    if sorted(first) == sorted(TRIPLE) and first != TRIPLE:
        what = f"the columns are {', '.join(first)}"
        raise UserError(lines.at(0), what, "put them in the order head, relation, tail")
    if weighted and len(first) > len(TRIPLE) and first[:3] == TRIPLE and first[3:] != [CONFIDENCE]:
        what = f"unknown column '{shown(first[3])}' after head, relation, tail"
        raise UserError(lines.at(0), what, did_you_mean(first[3], [CONFIDENCE]))
    return first if first in (TRIPLE, [*TRIPLE, CONFIDENCE]) else None


def _confidence(lines: Lines, column: pa.LargeStringArray) -> np.ndarray:
    """The numbers of the column, float64 ``[T]``. Raises UserError, with file and line, for one outside (0, 1]."""
    is_number = pc.match_substring_regex(column, NUMBER)
    text = pc.utf8_trim_whitespace(pc.if_else(is_number, column, pa.scalar("nan", pa.large_string())))
    values = pc.cast(text, pa.float64()).to_numpy(zero_copy_only=False)
    lines.refuse_if(
        ~((values > 0) & (values <= 1)),
        lambda row: f"the confidence '{shown(column[row].as_py())}' is not a number above 0 and at most 1",
        "write how likely the triple is true, 1 where it is certain; what is known to be false goes into negatives.tsv",
    )
    return values


def _refuse_headers(lines: Lines, unknown: np.ndarray) -> None:
    """Raise UserError for a header among lines whose three keys are ``unknown``, bool ``[T]``: a repeated one, or the
    first line where others hold keys.
    """
    repeated = pc.equal(pc.utf8_lower(lines.text), "\t".join(TRIPLE)).to_numpy(zero_copy_only=False)
    lines.refuse_if(unknown & repeated, lambda row: "the header is repeated", "delete this line")
    if len(unknown) > 1 and unknown[0] and not unknown[1:].all():
        found = " ".join(lines.text[0].as_py().split("\t"))
        what = f"'{shown(found)}' are no keys of the dataset; they look like a header"
        raise UserError(lines.at(0), what, "the header is head, relation, tail: write that, or delete the line")
