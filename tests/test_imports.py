"""The structure of the package: no circle of files, and a layer for each component."""

import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]


def test_no_circle_of_files() -> None:
    """A file that takes part in one can neither be read nor tested alone; ``CycleError`` names the circle."""
    graph = grimp.build_graph("mmkgc")
    TopologicalSorter({file: graph.find_modules_directly_imported_by(file) for file in graph.modules}).prepare()


def test_every_component_has_a_layer() -> None:
    """A folder that no layer names could import anything, unnoticed."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = {name.strip() for row in contracts[0]["layers"] for name in row.split("|")}
    folders = {path.parent.name for path in (ROOT / "components").glob("*/__init__.py")}
    assert {f"mmkgc.components.{name}" for name in folders} <= layers, "add it to a row of `layers` in pyproject.toml"
