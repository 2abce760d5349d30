"""Tests that need a program beyond Python say so with ``@pytest.mark.service``; they are skipped where it is missing.

In CI nothing may be skipped: there a missing service fails its tests.
"""

import os
from collections.abc import Generator

import pytest

LONGEST = (
    "tests/pipeline/test_run.py",
    "tests/test_installed.py",
    "tests/stress/test_short_forms.py",
    "tests/services/test_production.py",
    "tests/pipeline/test_cluster_run.py",
    "tests/pipeline/test_dag.py",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-golden", action="store_true", help="record the golden losses anew")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first, then those with slow tests: at the end, one worker would be at them alone."""
    places = {file: place for place, file in enumerate(LONGEST)}
    slow = {_file(item) for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (places.get(_file(item), len(LONGEST)), _file(item) not in slow))


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """MLflow leaves in the environment which store a test opened, and the next one would write its runs there."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and os.environ.get("CI") and item.get_closest_marker("service"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where every service must be there: {report.longrepr}"
    return report
