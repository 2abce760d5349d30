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
