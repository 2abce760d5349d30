"""Names and summaries of a folder's classes, read from the sources, since importing them takes seconds."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2]


def summaries(folder: str, base: str) -> dict[str, str]:
    """First line of the docstring of each class in ``folder`` (relative to the package), by the name of its file.

    Counted are the classes that are called like their file, as in a ``Registry``, and derive from ``base``.
    """
    classes = {node.name: (file, node) for file, node in _classes(PACKAGE / folder)}
    parents = {
        name: {base.id for base in node.bases if isinstance(base, ast.Name)} for name, (_, node) in classes.items()
    }

    def derives(name: str) -> bool:
        return any(parent == base or derives(parent) for parent in parents.get(name, ()))

    return {
        file: (ast.get_docstring(node) or "").partition("\n")[0]
        for name, (file, node) in sorted(classes.items(), key=lambda item: item[1][0])
        if name.lower() == file.replace("_", "") and derives(name)
    }


def _classes(folder: Path) -> Iterator[tuple[str, ast.ClassDef]]:
    for path in folder.glob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                yield path.stem, node
