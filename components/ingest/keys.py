"""Lists of entity keys for imported vectors, read by the same rules as dataset files."""

from pathlib import Path

import pyarrow.compute as pc

from mmkgc.components.dataset.checks import refuse_bad_keys
from mmkgc.components.dataset.lines import Lines
from mmkgc.components.dataset.readers import folder as tsv
from mmkgc.components.dataset.readers import openke


def read_keys(path: Path) -> list[str]:
    """Entity keys in order: an ``entities.tsv``, OpenKE's ``entity2id.txt`` (by id), or one key a line, alone or before
    a tab.

    Raises UserError, with file and line, for missing, malformed, empty or repeated keys.
    """
    lines = Lines.read(path, "give entities.tsv, entity2id.txt, or one key a line")
    if _is_openke(path, lines):
        return list(openke.vocabulary(path).keys)
    first = lines.text[0].as_py().lower() if len(lines) else ""
    header = [name.strip() for name in first.split("\t")]
    if header[:2] == tsv.KEYED:
        return list(tsv.table(path, tsv.OPTIONAL)["key"])
    lines = lines.after(1) if header[0] == "key" else lines
    keys = pc.list_element(pc.split_pattern(lines.text, "\t", max_splits=1), 0).to_pylist()
    refuse_bad_keys(lines, keys)
    return keys


def _is_openke(path: Path, lines: Lines) -> bool:
    """Whether the file has OpenKE's name, or format: a count, then lines of a key and its id."""
    if path.name in openke.FILES:
        return True
    rows = lines.text[1:]
    counted = len(rows) > 0 and lines.text[0].as_py().strip().isdecimal()
    return bool(counted and pc.all(pc.match_substring_regex(rows, r"\S\s+\d+\s*$")).as_py())
