"""Names and summaries of a folder's classes, read from the sources, since importing them takes seconds."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2]


def summaries(folder: str, base: str, declares: str = "") -> dict[str, str]:
    """First line of the docstring of each class in ``folder`` (relative to the package), by the name of its file.

    Counted are the classes that are called like their file, as in a ``Registry``, derive from ``base`` and are not
    abstract. If ``declares`` is given, only classes with an attribute of this name count.
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
        if name.lower() == file.replace("_", "") and derives(name) and _is_choice(node, declares)
    }


def _is_choice(node: ast.ClassDef, declares: str) -> bool:
    """Whether the class has no abstract method of its own, and the attribute ``declares``."""
    methods = [one for one in node.body if isinstance(one, ast.FunctionDef)]
    decorators = {one.id for method in methods for one in method.decorator_list if isinstance(one, ast.Name)}
    targets = [target for one in node.body if isinstance(one, ast.Assign) for target in one.targets]
    names = {one.id for one in targets if isinstance(one, ast.Name)}
    names |= {one.name for one in node.body if isinstance(one, ast.ClassDef)}
    names |= {one.target.id for one in node.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)}
    return "abstractmethod" not in decorators and (not declares or declares in names)


def _classes(folder: Path) -> Iterator[tuple[str, ast.ClassDef]]:
    for path in folder.glob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                yield path.stem, node
