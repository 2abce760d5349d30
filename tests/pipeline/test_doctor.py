"""``mmkgc doctor --fix``: what is mended, and that it is said before."""

import site
import sqlite3
import venv
from contextlib import closing
from pathlib import Path
from zipfile import ZipFile

import pytest
from click.testing import CliRunner

from mmkgc.components.runtime import database, tracking
from mmkgc.components.runtime.errors import UserError
from mmkgc.pipeline.cli import doctor as program
from mmkgc.pipeline.cli import remedies
from mmkgc.pipeline.cli.doctor import doctor


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "MMKGC_STORAGE", "MMKGC_SCRATCH", "KFP_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(program, "CHECKS", {"MLflow": program.CHECKS["MLflow"]})
    return tmp_path / "home"


def called(*arguments: str) -> tuple[int, list[str]]:
    found = CliRunner().invoke(doctor, arguments)
    return found.exit_code, found.output.splitlines()


def run_of_a_dead_process(home: Path) -> str:
    with tracking.start_run("toy", "killed") as run:
        here = run.api.get_run(run.id).data.tags[tracking.PROCESS_TAG].split(" ")
    run.api.set_tag(run.id, tracking.PROCESS_TAG, " ".join([*here[:2], "999999999", here[3]]))
    run.api.update_run(run.id, "RUNNING")
    return run.id


def test_runs_of_killed_processes_are_ended(home):
    run = run_of_a_dead_process(home)
    code, lines = called()
    assert code == 1
    assert lines[-2:] == [
        "`mmkgc doctor --fix` would",
        "  end 1 run of a killed process in MLflow as KILLED",
    ]
    assert tracking.client().get_run(run).info.status == "RUNNING"  # nothing was changed

    code, lines = called("--fix")
    assert code == 0
    said, done = lines.index("this will be done:"), lines.index("✓ ended 1 run as KILLED")
    assert said < done < lines.index("and now:")
    assert tracking.client().get_run(run).info.status == "KILLED"
    assert called("--fix")[1][-1] == "nothing to mend"


@pytest.mark.parametrize(
    ("absent", "well", "said"),
    [
        ((), True, "all extras"),
        (
            ("kubeflow", "torchrec", "ray"),
            True,
            "all extras, but for work on several machines: distributed, ray, trainjob",
        ),
        (("kubeflow", "faiss"), False, "extras missing: index"),
    ],
)
def test_one_machine_lacks_no_extra_for_several(absent, well, said, monkeypatch):
    monkeypatch.setattr(program, "find_spec", lambda module: None if module in absent else module)
    *_, last = program._python()
    assert (last.well, last.found) == (well, said)


def test_a_key_that_others_can_read_is_hidden(home, monkeypatch):
    monkeypatch.setattr(program, "CHECKS", {"API key": program._keys})
    home.mkdir()
    key = home / "api-key"
    key.write_text("0123456789abcdef\n")
    key.chmod(0o644)
    assert called() == (1, [f"✗ API key  other users may read {key}", f"            → chmod 600 {key}", "",
                            "`mmkgc doctor --fix` would", f"  chmod 600 {key}"])  # fmt: skip
    assert called("--fix")[0] == 0
    assert key.stat().st_mode & 0o777 == 0o600


def test_a_database_of_a_newer_mlflow_is_told_and_left_alone(home):
    database.ensure(home / "mlflow.db")
    with closing(sqlite3.connect(home / "mlflow.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    code, lines = called("--fix")
    assert code == 1
    assert "made by another version of MLflow" in lines[0]
    assert lines[1:] == ["            → install the MLflow that made it, or a later one", "",
                         "nothing that doctor can mend itself"]  # fmt: skip


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """An environment of its own, with the packages of this one, whose pip finds wheels in a folder alone."""
    venv.create(tmp_path / "venv")
    (own,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (own / "shared.pth").write_text("\n".join(site.getsitepackages()))
    monkeypatch.setattr(remedies.sys, "executable", str(tmp_path / "venv" / "bin" / "python"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.syspath_prepend(str(own))
    return own


def wheel(folder: Path, name: str, needs: str = "") -> None:
    about = f"{name}-1.0.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n" + (f"Requires-Dist: {needs}\n" if needs else "")
    files = {
        f"{name}.py": "",
        f"{about}/METADATA": metadata,
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    listed = "".join(f"{path},,\n" for path in (*files, f"{about}/RECORD"))
    with ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        for path, text in (files | {f"{about}/RECORD": listed}).items():
            archive.writestr(path, text)


def test_missing_packages_are_installed_and_no_other_is_changed(environment, tmp_path):
    wheel(tmp_path, "probe_one")
    wheel(tmp_path, "probe_two", needs="click>=99")
    assert remedies.installs("probe_one").apply() == "installed probe_one==1.0"
    assert (environment / "probe_one.py").exists()
    with pytest.raises(UserError, match="see what it says"):
        remedies.installs("probe_two").apply()
    assert not (environment / "probe_two.py").exists()


def test_nothing_is_mended_on_a_cluster():
    found = CliRunner().invoke(doctor, ["--cluster", "--fix"])
    assert "changes nothing on a cluster" in str(found.exception)
