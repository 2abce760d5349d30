"""What documents say about the repository is so: links, versions, systems, targets of make."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from mmkgc.components.kge.listing import listing
from mmkgc.pipeline.bench import of_each
from tests.benchmarks import results

ROOT = Path(__file__).parents[1]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")


def documents() -> list[Path]:
    files = subprocess.check_output(["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"], cwd=ROOT)
    return [ROOT / name for name in files.decode().split()]


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_of_a_document_leads_to_a_file(document):
    missing = [target for target in LINK.findall(document.read_text()) if not (document.parent / target).exists()]
    assert not missing


def test_the_version_is_the_same_everywhere():
    changelog = re.search(r"^## \[([\d.]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert changelog
    assert changelog[1] == VERSION
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == VERSION


def test_every_system_stands_beside_its_paper():
    page = (ROOT / "docs" / "systems.md").read_text()
    systems = [path.stem for path in (ROOT / "pipeline" / "recipes" / "systems").glob("*.yaml")]
    assert systems
    assert [name for name in systems if f"`{name}`" not in page] == []


def test_every_package_of_an_extra_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = [
        *project["dependencies"],
        *(one for extra in project["optional-dependencies"].values() for one in extra),
    ]
    names = {re.match(r"[\w.-]+", one)[0].lower().replace("_", "-") for one in required} - {"mmkgc"}
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").open()}
    assert names - pinned == set()


def test_the_public_workflow_calls_targets_that_there_are():
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"].values()
    runs = [step["run"] for job in jobs for step in job["steps"] if "run" in step] + (
        ROOT / ".ci" / "run"
    ).read_text().splitlines()
    called = {word for run in runs for word in re.findall(r"^make ([a-z]+)", run)}
    assert {"lint", "test", "docs", "check"} <= called <= targets


def test_every_kind_that_documents_list_can_be_listed():
    """``mmkgc list KIND`` as it stands in documents, recipes and notebooks."""
    kinds = {name for kind in [*listing(), "recipe", "system", "encoder"] for name in (kind, f"{kind}s", f"{kind}es")}
    kinds.add("studies")
    files = [
        *documents(),
        *(ROOT / "docs" / "notebooks").glob("*.py"),
        *(ROOT / "pipeline" / "recipes").rglob("*.yaml"),
    ]
    named = {kind for file in files for kind in re.findall(r"mmkgc list ([a-z]+)", file.read_text())}
    assert "samplers" in named
    assert named <= kinds


def test_tables_of_results_are_made_from_their_rows():
    """`python -m tests.benchmarks.results` writes them."""
    written = results.PAGE.read_text().partition(results.BEGIN)[2].partition(results.END)[0]
    assert written.strip() == results.tables().strip()
    assert not (drawn := results.figure()) or results.FIGURE.read_text() == drawn
    assert not (drawn := results.figure(results.highest)) or results.SUMMARY.read_text() == drawn
    recipes = [recipe for row in results.rows() for recipe in of_each(row["recipe"])]
    assert all("/" not in str(recipe["extract"]) for recipe in recipes), "a row names a path of a machine"
