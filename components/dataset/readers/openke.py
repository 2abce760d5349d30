"""OpenKE folders: files of ids, each with a count of its rows on the first line.

``entity2id.txt``, ``relation2id.txt``: rows ``key id``. ``train2id.txt``, ``valid2id.txt`` (optional),
``test2id.txt``: rows ``head tail relation``. Other projects put the relation second under the same file names. The
order is therefore checked against the ranges of the ids; ``columns`` resolves ambiguous cases.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmkgc.components.dataset.checks import refuse_bad_keys
from mmkgc.components.dataset.lines import Lines
from mmkgc.components.dataset.modalities import MODALITIES, MODALITY_FILES
from mmkgc.components.dataset.raw import Card, Columns, RawGraph, Split, Terms
from mmkgc.components.dataset.strings import Strings
from mmkgc.components.runtime.errors import UserError, shown
from mmkgc.components.runtime.faults import Faults

ENTITIES, RELATIONS = "entity2id.txt", "relation2id.txt"
FILES = (ENTITIES, RELATIONS, "train2id.txt", "valid2id.txt", "test2id.txt")
VALID = ("valid2id.txt", "dev2id.txt", "val2id.txt", "validation2id.txt")
NEEDS = "entity2id.txt, relation2id.txt, train2id.txt and test2id.txt (valid2id.txt if there is a development split)"
ORDER: dict[str, list[int]] = {"htr": [0, 2, 1], "hrt": [0, 1, 2]}  # columns of head, relation and tail
SPELLED = {"htr": "head tail relation", "hrt": "head relation tail"}
SIDES = ("head", "relation", "tail")
SEPARATED = "separate them by a blank or a tab"
DIGITS = 18  # fits into 64 bits


def read(folder: Path, columns: Columns | None = None) -> RawGraph:
    """The dataset in ``folder``; ``columns`` overrides dataset.yaml. Raises UserError for anything malformed."""
    faults = Faults()
    words: dict[str, Terms] = {}
    rows: dict[str, tuple[Lines, np.ndarray]] = {}
    splits: dict[str, Split] = {}
    files = files_of(folder)
    with faults:
        card = Card.read(folder)
    for name in (ENTITIES, RELATIONS):
        with faults:
            words[name] = vocabulary(folder / name)
    for name in files:
        if name not in (ENTITIES, RELATIONS, *MODALITY_FILES):
            with faults:
                rows[name] = _rows(folder / name)
    faults.refuse()
    entities, relations = words[ENTITIES], words[RELATIONS]
    sizes = [len(entities), len(relations), len(entities)]
    order = columns or card.columns or _order(folder, [ids for _, ids in rows.values()], sizes)
    for name, (lines, ids) in rows.items():
        with faults:
            splits[name] = _split(lines, ids, order, sizes)
    faults.refuse()
    return RawGraph(
        folder=folder,
        card=card,
        files=files,
        entities=entities,
        relations=relations,
        train=splits["train2id.txt"],
        valid=next((splits[name] for name in files if name in VALID), None),
        test=splits["test2id.txt"],
        contents={name: modality.read(folder, {"key": entities.keys}) for name, modality in MODALITIES.items()},
        types=None,
        unread=tuple(sorted(path.name for path in folder.glob("*2id.txt") if path.name not in files)),
    )


def files_of(folder: Path) -> tuple[str, ...]:
    """Names of the files that make up the dataset, present or not; a development split only if present."""
    valid = next((name for name in VALID if os.path.lexists(folder / name)), None)
    return tuple(name for name in (*FILES[:3], valid, FILES[4], *MODALITY_FILES) if name)


def _counted(path: Path) -> Lines:
    """The rows after the count line, which must be correct."""
    lines = Lines.read(path, f"the folder needs {NEEDS}")
    if not len(lines):
        raise UserError(path, "this file is empty", "write the count of rows, then the rows")
    first, rows = lines.text[0].as_py().strip(), lines.after(1)
    if not first.isdecimal():
        what = f"the first line is the count of rows; found '{shown(first)}'"
        is_row = first.split(" ")[-1].split("\t")[-1].isdecimal()
        mend = f"put {len(lines)} on a line of its own before the rows" if is_row else f"write {len(rows)} in its place"
        raise UserError(lines.at(0), what, mend)
    if len(first) > DIGITS or int(first) != len(rows):
        what = f"the count says {shown(first)} rows, {len(rows)} follow"
        raise UserError(lines.at(0), what, "correct the count, or restore the rows that are missing")
    return rows


def vocabulary(path: Path) -> Terms:
    """Keys in the order of their ids, with names made from them. Raises UserError for anything malformed."""
    lines = _counted(path)
    fields = pc.extract_regex(lines.text, r"^\s*(?P<key>.*\S)\s+(?P<id>\d{1,18})\s*$")
    _refuse_malformed(lines, fields, "a key and its id", lambda row: _mend_ids(lines, SEPARATED))
    keys = pc.struct_field(fields, "key").to_pylist()
    ids = pc.struct_field(fields, "id").cast(pa.int64()).to_numpy()
    lines.refuse_if(
        ids >= len(ids),
        lambda row: f"id {ids[row]} where {len(ids)} keys are",
        lambda row: _mend_ids(lines, f"ids go from 0 to {len(ids) - 1}"),
    )
    repeated = np.ones(len(ids), bool)
    repeated[np.unique(ids, return_index=True)[1]] = False
    lines.refuse_if(repeated, lambda row: f"id {ids[row]} is already taken", "give every key an id of its own")
    refuse_bad_keys(lines, keys)
    ordered = [keys[row] for row in np.argsort(ids)]
    return Terms(Strings.of(ordered), Strings.of(map(readable, ordered)))


def readable(key: str) -> str:
    """A name made from a key: the decoded last part of a URI, with spaces instead of underscores.

    The names of DBpedia's resources may contain slashes (``…/resource/AC/DC``). Ids of Freebase (``/m/0h7_sc``) have
    underscores of their own and stay.
    """
    if re.fullmatch(r"/[mg]/\w+", key):
        return key
    name = key.strip("<>")
    if "://" in name:
        _, is_resource, rest = name.partition("/resource/")
        name = unquote(rest if is_resource else name.rsplit("#")[-1].rsplit("/")[-1])
    name = name.replace("_", " ").strip()
    return name if any(map(str.isalnum, name)) else key


def _rows(path: Path) -> tuple[Lines, np.ndarray]:
    """Lines and ids ``[T, 3]`` in the file's own column order."""
    lines = _counted(path)
    fields = pc.extract_regex(lines.text, r"^\s*(?P<a>\d{1,18})\s+(?P<b>\d{1,18})\s+(?P<c>\d{1,18})\s*$")
    _refuse_malformed(lines, fields, "three ids", lambda row: _mend_row(lines.text[row].as_py()))
    columns = [pc.struct_field(fields, name).cast(pa.int64()).to_numpy() for name in "abc"]
    return lines, np.stack(columns, axis=1)


def _refuse_malformed(lines: Lines, fields: pa.StructArray, belongs: str, mend: Callable[[int], str]) -> None:
    malformed = fields.is_null().to_numpy(zero_copy_only=False)
    lines.refuse_if(malformed, lambda row: f"{belongs} belong here; found '{shown(lines.text[row].as_py())}'", mend)


def _mend_row(row: str) -> str:
    """Advice for a malformed row of three ids."""
    return f"write their ids, as in {ENTITIES} and {RELATIONS}" if len(row.split()) == 3 else SEPARATED


def _mend_ids(lines: Lines, otherwise: str) -> str:
    """Advice for malformed rows of keys and ids: swap the columns if the ids come first."""
    fields = pc.extract_regex(lines.text, r"^\s*(?P<id>\d{1,18})\s+\S")
    ids = np.sort(pc.struct_field(fields, "id").drop_null().cast(pa.int64()).to_numpy())
    id_first = np.array_equal(ids, np.arange(len(lines)))
    return "the ids stand first in this file: write the key, then its id" if id_first else otherwise


def _fits(ids: np.ndarray, order: str, sizes: list[int]) -> bool:
    return bool((ids[:, ORDER[order]] < sizes).all())


def _order(folder: Path, splits: list[np.ndarray], sizes: list[int]) -> Columns:
    """OpenKE's own order. Raises UserError if the ids also fit the other one."""
    ids = np.concatenate(splits)
    if len(ids) and _fits(ids, "htr", sizes) and _fits(ids, "hrt", sizes):
        what = "the ids fit both column orders, 'head tail relation' and 'head relation tail'"
        raise UserError(folder, what, "say which by `columns: htr` or `columns: hrt` in its dataset.yaml")
    return "htr"


def _split(lines: Lines, ids: np.ndarray, order: Columns, sizes: list[int]) -> Split:
    other = "hrt" if order == "htr" else "htr"
    triples = ids[:, ORDER[order]]
    outside = np.greater_equal(triples, sizes)

    def what(row: int) -> str:
        side = int(np.flatnonzero(outside[row])[0])
        kind = "relations" if side == 1 else "entities"
        return f"{SIDES[side]} id {triples[row, side]} where {sizes[side]} {kind} are, read as '{SPELLED[order]}'"

    if _fits(ids, other, sizes):
        mend = f"it fits '{SPELLED[other]}': set ingest.columns={other}, or write `columns: {other}` in dataset.yaml"
    else:
        mend = "correct the id, or add the key to entity2id.txt or relation2id.txt"
    lines.refuse_if(outside.any(axis=1), what, mend)
    return Split(lines, triples)
