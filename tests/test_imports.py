"""The structure of the package: no circle of files."""

from graphlib import TopologicalSorter

import grimp


def test_no_circle_of_files() -> None:
    """A file that takes part in one can neither be read nor tested alone; ``CycleError`` names the circle."""
    graph = grimp.build_graph("mmkgc")
    TopologicalSorter({file: graph.find_modules_directly_imported_by(file) for file in graph.modules}).prepare()
