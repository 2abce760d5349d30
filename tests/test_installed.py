"""The wheel, installed into an empty environment outside the repository: its content, a run, and the notebooks.

The environment holds the wheel alone; what it depends on is that of the environment which runs the tests.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

OWN = {"mmkgc/__init__.py", "mmkgc/client.py", "mmkgc/py.typed"}
ROOT = Path(__file__).parents[1]
PACKAGED = ("components", "feature_store", "pipeline", "serving")
NOTEBOOKS = sorted(path.stem for path in (ROOT / "docs" / "notebooks").glob("*.py"))
SHORT = ("train.epochs=12", "extract.visual=null", "evaluate.bootstrap=200")
"""As in the notebooks, whose graph, features and model then come from the cache."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, since setuptools would also pack what an earlier build has left in ``build``."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("mmkgc", *PACKAGED):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    return next(folder.glob("mmkgc-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Run a program of the environment in an empty folder outside the repository, always the same."""
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder / "venv")
    paths = {"base": str(folder / "venv"), "platbase": str(folder / "venv")}
    packages = Path(sysconfig.get_path("purelib", "venv", paths))
    (packages / "dependencies.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    _pip("install", "--no-deps", "--no-index", "--target", packages, wheel)
    work = folder / "work"
    work.mkdir()
    unset = ("PYTHONPATH", "MMKGC_HOME", "MMKGC_STORAGE", "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID")
    environment = {name: value for name, value in os.environ.items() if name not in unset}

    def run(*words):
        command = [folder / "venv" / "bin" / "python", *map(str, words)]
        return subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, timeout=800)

    return run


def _pip(*words):
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *map(str, words)], check=True)


def test_the_wheel_holds_one_package_with_everything_that_the_folders_hold(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
    files = {f"mmkgc/{path.relative_to(ROOT)}" for folder in PACKAGED for path in (ROOT / folder).rglob("*.*")}
    expected = {file for file in files if "__pycache__" not in file} | OWN
    assert set(names) == expected


@pytest.mark.timeout(900)
def test_the_installed_package_runs_the_pipeline(installed):
    settings = [part for setting in SHORT for part in ("--set", setting)]
    result = installed("-c", "from mmkgc.pipeline.cli import main; main()", "run", "countries", "--no-serve", *settings)
    assert result.returncode == 0, result.stderr
    assert "registered countries version 1: now 'champion'" in result.stdout
    where = installed("-c", "import mmkgc; print(mmkgc.__file__, mmkgc.__version__)")
    assert str(ROOT) not in where.stdout


@pytest.mark.timeout(900)
@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_a_notebook_runs(installed, notebook):
    result = installed(ROOT / "docs" / "notebooks" / f"{notebook}.py")
    assert result.returncode == 0, result.stderr
