"""Where things live, as the environment says it."""

import sqlite3
from pathlib import Path

import pytest

from mmkgc.components.runtime.settings import Settings, variable

NAMES = ("MMKGC_HOME", "MMKGC_STORAGE", "MMKGC_SCRATCH", "MMKGC_DATA", "MLFLOW_TRACKING_URI")


@pytest.mark.parametrize("value", [None, "", "  "])
def test_an_empty_variable_counts_as_not_set(monkeypatch, tmp_path, value):
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
    home = tmp_path / ".mmkgc"
    expected = Settings(home, f"{home}/store", home / "scratch", tmp_path / "data", f"sqlite:///{home}/mlflow.db")
    assert Settings.from_env() == expected
    assert variable("MMKGC_HOME") is None


def test_the_users_folder_is_written_with_a_tilde(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in NAMES[:-1]:
        monkeypatch.setenv(name, f"~/{name.lower()}")
    found = Settings.from_env()
    assert [found.home, Path(found.storage), found.scratch, found.data] == [tmp_path / n.lower() for n in NAMES[:-1]]


def test_a_store_elsewhere_is_taken_as_it_is(monkeypatch):
    monkeypatch.setenv("MMKGC_STORAGE", "s3://bucket/~x")
    assert Settings.from_env().storage == "s3://bucket/~x"


def test_the_database_lies_in_a_home_of_any_name(monkeypatch, tmp_path):
    from sqlalchemy import create_engine, text

    for name in ("a 50%41 ?x=y", "o'hara#1", "知识图谱", "plain"):
        monkeypatch.setenv("MMKGC_HOME", str(tmp_path / name))
        (tmp_path / name).mkdir()
        with create_engine(Settings.from_env().tracking_uri).begin() as connection:
            connection.execute(text("CREATE TABLE runs (id INTEGER)"))
        with sqlite3.connect(tmp_path / name / "mlflow.db") as opened:
            assert opened.execute("SELECT name FROM sqlite_master").fetchall() == [("runs",)]
    assert len(list(tmp_path.iterdir())) == 4
