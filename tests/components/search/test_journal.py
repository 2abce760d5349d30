"""A damaged journal of a search: set aside, told, and what stands before the damage goes on."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mmkgc.components.search.config import SearchConfig
from mmkgc.components.search.study import open_study
from mmkgc.components.train.config import TrainConfig


def opened(folder: Path) -> list[float]:
    config = SearchConfig(trials=3, space={"seed": {"low": 0, "high": 9}})
    study = open_study("s", config, TrainConfig(), folder)
    return [trial.value for trial in study.trials if trial.value is not None]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    import optuna

    opened(tmp_path)
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal.log")))
    study = optuna.load_study(study_name="s", storage=storage)
    for value in (0.25, 0.5):
        study.tell(study.ask(), value)
    return tmp_path / "journal.log"


def test_trials_before_the_damage_are_kept(journal: Path, capsys: pytest.CaptureFixture) -> None:
    assert opened(journal.parent) == [0.25, 0.5]
    lines = journal.read_bytes().splitlines(keepends=True)
    second = next(number for number, line in enumerate(lines) if json.loads(line).get("values") == [0.5])
    journal.write_bytes(b"".join([*lines[:second], b"\x00\xff", *lines[second:]]))
    assert opened(journal.parent) == [0.25]
    assert "set aside as journal.log.damaged-1; the search goes on" in capsys.readouterr().err


@pytest.mark.parametrize("end", [lambda line: line[:20], lambda line: line[:-1], lambda line: b"\x01" + line[1:]])
def test_a_last_line_that_is_not_whole_does_not_spoil_the_next_one(
    end: Callable[[bytes], bytes], journal: Path, capsys: pytest.CaptureFixture
) -> None:
    """A process that is killed while it writes leaves one."""
    import optuna

    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:-1], end(lines[-1])]))
    assert opened(journal.parent) == [0.25]
    assert "a line is not whole) and was set aside" in capsys.readouterr().err
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(journal)))
    study = optuna.load_study(study_name="s", storage=storage)
    study.tell(study.ask(), 0.75)
    assert opened(journal.parent) == [0.25, 0.75]


@pytest.mark.parametrize("damage", [b"7\n", b'{"op_code": 1, "worker_id": "x"}\n', b"nothing\nof it\n"])
def test_a_journal_that_makes_no_sense_begins_anew(damage: bytes, journal: Path) -> None:
    journal.write_bytes(damage)
    assert opened(journal.parent) == []
    assert journal.with_name("journal.log.damaged-1").read_bytes() == damage
