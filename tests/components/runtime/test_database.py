import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mmkgc.components.runtime import database
from mmkgc.components.runtime.errors import UserError

pytestmark = pytest.mark.slow


def test_a_database_that_was_left_half_made_is_made_anew(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as half:
        half.execute("CREATE TABLE runs (id INTEGER)")
    litter = tmp_path / ".mlflow.db.killed"
    litter.mkdir()
    database.ensure(path)
    with closing(sqlite3.connect(path)) as whole:
        assert whole.execute("SELECT name FROM experiments").fetchall() == [("Default",)]
    assert sorted(found.name for found in tmp_path.iterdir()) == ["mlflow.db", "mlflow.db.damaged-1"]
    assert "set aside as mlflow.db.damaged-1; a new one is made" in capsys.readouterr().err


def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_text("nothing of SQLite's " * 100)
    with pytest.raises(UserError, match=r"cannot be read .*restore it from a backup, or move it away"):
        database.ensure(path)
    assert path.exists()


def test_a_transaction_in_which_a_process_was_killed_is_undone(tmp_path: Path) -> None:
    path, killed = tmp_path / "mlflow.db", tmp_path / "killed.db"
    database.ensure(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA cache_size = 1")  # pages are written before the transaction ends
        writer.execute("BEGIN")
        writer.executemany("INSERT INTO experiments (name) VALUES (?)", [(f"{i}" * 50,) for i in range(2000)])
        for suffix in ("", "-journal"):
            shutil.copy(f"{path}{suffix}", f"{killed}{suffix}")
    database.ensure(killed)
    with closing(sqlite3.connect(killed)) as after:
        assert after.execute("SELECT name FROM experiments").fetchall() == [("Default",)]
