"""Whatever goes wrong, the command line says one sentence and ends with an exit code."""

import errno
import os
import pickle
import sys
from pathlib import Path

import click
import pytest
from pydantic import BaseModel, ValidationError

from mmkgc.components.runtime.errors import StepFailed, UserError
from mmkgc.components.runtime.failures import LONGEST, told
from mmkgc.pipeline import cli


class Part(BaseModel):
    size: int


def foreign(kind):
    """An error as the library of that name raises it."""
    import httpx
    import sqlalchemy
    from mlflow.exceptions import MlflowException

    from mmkgc.serving.torchserve.server import ServerError

    match kind:
        case "mlflow":
            return MlflowException("RESOURCE_DOES_NOT_EXIST: no such run\nTraceback: …")
        case "sqlalchemy":
            return sqlalchemy.exc.ArgumentError("Could not parse SQLAlchemy URL")
        case "full":
            import sqlite3

            full = sqlalchemy.exc.OperationalError("UPDATE", {}, sqlite3.OperationalError("database or disk is full"))
            return MlflowException(f"(raised as a result of Query-invoked autoflush)\n{full}")
        case "wrapped":
            error = MlflowException("could not be written")
            error.__context__ = ValueError()
            error.__context__.__cause__ = OSError(errno.ENOSPC, "No space left on device", "/x")
            return error
        case "httpx":
            return httpx.ConnectError("refused")
        case "torchserve":
            return ServerError(
                "the worker died; the end of its log:\n  File x\n[INFO] W-1 - RuntimeError: no memory\nstopped"
            )
        case "pydantic":
            with pytest.raises(ValidationError) as refusal:
                Part(size="x")
            return refusal.value
    raise AssertionError(kind)


@pytest.mark.parametrize(
    ("error", "sentence", "code"),
    [
        (
            UserError("train.tsv, line 3", "two columns", "write three"),
            "train.tsv, line 3: two columns — write three",
            2,
        ),
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), "/x/y: No space left on device — free some", 1),
        (OSError(errno.EROFS, "Read-only file system", "/x"), "/x: Read-only file system — set MMKGC_HOME to", 1),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "/x/y"), "/x/y: Not a directory — a file is where", 1),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), "the working folder: it does not exist any", 1),
        (KeyError("graph_uri"), "KeyError: 'graph_uri' — this should not happen: add --debug", 1),
        (RecursionError(), "RecursionError: no further word", 1),
        ("mlflow", "MLflow: RESOURCE_DOES_NOT_EXIST: no such run — `mmkgc doctor`", 1),
        ("sqlalchemy", "the database: Could not parse SQLAlchemy URL", 1),
        ("full", "the database: database or disk is full — free some space", 1),
        ("wrapped", "/x: No space left on device — free some space", 1),
        ("httpx", "the network: refused", 1),
        (
            "torchserve",
            "TorchServe: the worker died; the end of its log:; RuntimeError: no memory — add --debug",
            1,
        ),
        ("pydantic", "size: Input should be a valid integer", 2),
    ],
)
def test_every_error_is_one_sentence(error, sentence, code):
    found = told(foreign(error) if isinstance(error, str) else error)
    assert found[0].startswith(sentence)
    assert "\n" not in found[0]
    assert found[1] == code


def test_a_step_is_told_by_the_last_line_of_its_traceback():
    lines = ["Traceback (most recent call last):", '  File "x.py", line 1, in f', "    g()"]
    failed = StepFailed(
        "train", "\n".join([*lines, "OSError: [Errno 28] No space left on device"]), Path("/logs/a.log")
    )
    assert told(failed) == (
        "step 'train' failed: OSError: [Errno 28] No space left on device — "
        "free some space, or set MMKGC_HOME to another disk; the whole log: /logs/a.log",
        1,
    )


def test_neither_passwords_nor_terminal_codes_nor_huge_values_are_printed():
    sentence, _ = told(UserError("postgresql://me:secret@db/x", "\x1b[31mred\nline", "9" * 100_000 + " the end"))
    assert sentence.startswith("postgresql://me:***@db/x: \\x1b[31mred\\nline")
    assert sentence.endswith("9 the end")
    assert len(sentence) < LONGEST + 10


@pytest.mark.parametrize(
    ("arguments", "variable", "shown"),
    [
        (["run"], "", False),
        (["run"], "1", True),
        (["--debug", "run"], "", True),
        (["run", "--debug"], "", True),
        (["group", "run", "--debug"], "", True),
    ],
)
def test_the_command_shows_a_traceback_only_if_asked(monkeypatch, capsys, arguments, variable, shown):
    def verb(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/full")

    verbs = {"run": click.Command("run", callback=verb)}
    verbs["group"] = click.Group("group", commands=[click.Command("run", callback=verb)])
    monkeypatch.setenv("MMKGC_DEBUG", variable)
    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda _, __, name: cli.with_debug(verbs[name]))
    monkeypatch.setattr(sys, "argv", ["mmkgc", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 1
    printed = capsys.readouterr().err
    assert printed.splitlines()[-1].startswith("mmkgc: /full: No space left on device — ")
    assert ("Traceback" in printed) == shown


def test_a_worker_process_passes_an_error_on_whole():
    error = pickle.loads(pickle.dumps(UserError("x.tsv, line 3", "two columns", "write three")))
    assert str(error) == "x.tsv, line 3: two columns — write three"
