"""Files that lie beside triples and say more about their keys: names, texts, types, numbers and pictures.

They are recognised by their content: the first column holds keys of the graph. Without a header, the second column is
a name, but a text if it is long or the file's name says so; a third one is a text beside a name, or the value of the
attribute in the second.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean

from mmkgc.components.dataset.modalities.numeric import is_number
from mmkgc.components.ingest.converters.cells import DELIMITED, Row, opened, sheets, suffix_of
from mmkgc.components.ingest.converters.draft import Draft, one_line
from mmkgc.components.ingest.converters.words import role_of

FOUND = 0.5  # share of rows whose key is in the graph, at least
TEXTS = ("long", "desc", "definition", "abstract", "comment", "gloss")  # in the names of files of texts
LONG = 60  # characters on average, from which a text is a description


def add_companions(draft: Draft, paths: Iterable[Path]) -> None:
    """Add what the files say about entities and relations of the draft; others are left alone, with a note."""
    unread = []
    for path in sorted(paths):
        if suffix_of(path) in DELIMITED:
            used = _add_table(draft, path)
        else:
            used = suffix_of(path) == ".json" and _add_json(draft, path)
        unread += [] if used else [path.name]
    if unread:
        draft.findings.notes.append(f"Files beside the triples that are not used: {', '.join(unread)}.")


def _add_table(draft: Draft, path: Path) -> bool:
    sheet = sheets(path)[0]
    rows = list(sheet.rows)
    if not rows or len(rows[0].cells) < 2:
        return False
    roles = _header(rows[0].cells)
    body = rows[1:] if roles else rows
    keys = [one_line(row.cells[0]) for row in body]
    for ids, put in ((draft.entities.ids, _put_entity), (draft.relations.ids, _put_relation)):
        if sum(key in ids for key in keys) >= FOUND * max(len(keys), 1):
            known = [(ids[key], row) for key, row in zip(keys, body, strict=True) if key in ids]
            shown = roles or _guessed([row.cells[1:] for _, row in known], path.name.lower())
            for one, row in known:
                put(draft, one, dict(zip(shown, row.cells[1:], strict=False)), path, row)
            return bool(shown)
    return False


def _header(first: Sequence[str]) -> list[str]:
    """Roles of the columns after the first, if the first row is a header."""
    roles = [role_of(cell) for cell in first]
    if roles[0] == "key" and all(roles[1:]):
        return [str(role) for role in roles[1:]]
    return []


def _guessed(rows: Sequence[Sequence[str]], file: str) -> list[str]:
    """Roles of the columns after the key, from their content; none where they only number the keys."""
    width = min(map(len, rows), default=0)
    if width == 0 or (width == 1 and all(row[0].strip().isdecimal() for row in rows)):
        return []
    if width == 2 and all(map(is_number, [row[1] for row in rows[:1000]])):
        return ["attribute", "value"]
    if width == 1:
        is_text = any(word in file for word in TEXTS) or fmean(len(row[0]) for row in rows) >= LONG
        return ["description" if is_text else "name"]
    return ["name", "description"]


def _put_entity(draft: Draft, entity: int, cells: dict[str, str], path: Path, row: Row) -> None:
    if name := one_line(cells.get("name", "")):
        draft.names[entity] = name
    draft.describe(entity, cells.get("description", ""))
    if kind := one_line(cells.get("type", "")):
        draft.types[entity] = kind
    if attribute := one_line(cells.get("attribute", "")):
        draft.literals.append((entity, attribute, cells["value"]))
    for image in filter(None, map(str.strip, cells.get("image", "").split("|"))):
        draft.pictures.setdefault(entity, []).append(path.parent / image)


def _put_relation(draft: Draft, relation: int, cells: dict[str, str], path: Path, row: Row) -> None:
    if name := one_line(cells.get("name") or cells.get("description", "")):
        draft.relation_names[relation] = name


def _add_json(draft: Draft, path: Path) -> bool:
    """Add an object of keys to a name, or to an object with ``label`` or ``name`` and ``description``."""
    with opened(path) as stream:
        try:
            content = json.loads(stream.read())
        except ValueError:
            return False
    if not isinstance(content, dict):
        return False
    known = [key for key in content if key in draft.entities]
    for key in known:
        about = content[key] if isinstance(content[key], dict) else {"name": content[key]}
        cells = {str(role_of(name)): one for name, one in about.items() if isinstance(one, str) and role_of(name)}
        _put_entity(draft, draft.entities.ids[key], cells, path, Row(0, []))
    return bool(known)
