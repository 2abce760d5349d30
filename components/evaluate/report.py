"""A report as a list of blocks, rendered as Markdown and as one self-contained HTML page."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mmkgc.components.runtime.quoting import markdown as plain


@dataclass(frozen=True)
class Heading:
    """A section's title."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Table:
    """Rows of text under a header; the first column is left-aligned, the others right."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Figure:
    """An image file beside the report."""

    path: Path
    caption: str


Block = Heading | Paragraph | Table | Figure

REPORT = "report.json"
"""The blocks of an evaluation's report, from which `mmkgc report` makes a page with the run's own facts."""
KINDS: dict[str, type[Block]] = {kind.__name__: kind for kind in (Heading, Paragraph, Table, Figure)}

STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse } th, td { padding: .3rem .8rem; border-bottom: 1px solid #8884 }
td + td, th + th { text-align: right; font-variant-numeric: tabular-nums } th { text-align: left }
.facts td + td, .facts th + th { text-align: left }
img { max-width: 100%; background: #fff } figcaption { opacity: .75 } figure, div { margin: 1rem 0; overflow-x: auto }
"""


def to_json(blocks: Iterable[Block], folder: Path) -> list[dict[str, Any]]:
    """The blocks as JSON; figures by their path in ``folder``."""
    return [
        {"kind": type(block).__name__, **asdict(block)}
        | ({"path": block.path.relative_to(folder).as_posix()} if isinstance(block, Figure) else {})
        for block in blocks
    ]


def from_json(blocks: Iterable[dict[str, Any]], folder: Path) -> list[Block]:
    """The blocks that ``to_json`` wrote; their figures are in ``folder``."""
    made = [KINDS[block["kind"]](**{key: value for key, value in block.items() if key != "kind"}) for block in blocks]
    return [replace(block, path=folder / block.path) if isinstance(block, Figure) else block for block in made]


def markdown(title: str, blocks: Iterable[Block], folder: Path) -> str:
    """Markdown with figures linked relative to ``folder``."""
    return "\n\n".join([f"# {plain(title)}", *(_markdown(block, folder) for block in blocks)]) + "\n"


def _markdown(block: Block, folder: Path) -> str:
    match block:
        case Heading(text):
            return f"## {plain(text)}"
        case Paragraph(text):
            return plain(text)
        case Figure(path, caption):
            return f"![{plain(caption)}]({quote(path.relative_to(folder).as_posix())})"
        case Table(header, rows):
            ruler = ["---", *["---:"] * (len(header) - 1)]
            cells = [list(map(plain, header)), ruler, *(list(map(plain, row)) for row in rows)]
            return "\n".join("| " + " | ".join(row) + " |" for row in cells)


def html(title: str, blocks: Iterable[Block]) -> str:
    """One HTML page with embedded figures, which can be mailed or opened from MLflow."""
    body = "\n".join(_html(block) for block in blocks)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head>\n<body><h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def _html(block: Block) -> str:
    match block:
        case Heading(text):
            return f"<h2>{escape(text)}</h2>"
        case Paragraph(text):
            return f"<p>{escape(text)}</p>"
        case Figure(path, caption):
            data = base64.b64encode(path.read_bytes()).decode()
            image = f'<img alt="{escape(caption)}" src="data:image/png;base64,{data}">'
            return f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>"
        case Table(header, rows):
            facts = ' class="facts"' if len(header) == 2 and header[1] in ("", "value") else ""
            lines = [_html_row(header, "th"), *(_html_row(row, "td") for row in rows)]
            return f"<div><table{facts}>" + "".join(lines) + "</table></div>"


def _html_row(cells: Sequence[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"
