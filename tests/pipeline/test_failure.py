"""What is told of a step that ended: one sentence where the cause is known."""

import errno
import signal

import pytest

from mmkgc.components.runtime.errors import StepFailed, UserError
from mmkgc.pipeline.runners.failure import failure

TRACEBACK = """12:00 - INFO - Executing task 'train'
    Traceback (most recent call last):
      File "x.py", line 1, in f
    {error}
12:00 - ERROR - Task 'train' finished with status FAILURE
{{"executor": "twenty lines of JSON"}}
"""


@pytest.fixture
def log(tmp_path):
    def write(error):
        path = tmp_path / "run.log"
        path.write_text(TRACEBACK.format(error=error))
        return path

    return write


@pytest.mark.parametrize("code", [-signal.SIGKILL, 128 + signal.SIGKILL])
def test_a_killed_step_names_the_signal_and_the_memory(code, log):
    told = failure("train", log("OSError: of an earlier step"), code, peak=3 << 29)
    assert isinstance(told, UserError)
    assert str(told).startswith("step 'train': killed (SIGKILL) when its largest process had taken up to 1.5 GB of ")
    assert " of this machine's " in str(told)
    assert "\n" not in str(told)


def test_a_step_that_a_signal_ended_names_it(log):
    assert "step 'train': ended by SIGSEGV" in str(failure("train", log("x"), -signal.SIGSEGV))


@pytest.mark.parametrize(
    ("error", "number"),
    [
        ("OSError: [Errno 28] No space left on device: '/x'", errno.ENOSPC),
        ("safetensors_rust.SafetensorError: I/O error: No space left on device (os error 28)", errno.ENOSPC),
        ("sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) database or disk is full", errno.ENOSPC),
        ("MlflowException: (autoflush)\n    (sqlite3.OperationalError) database or disk is full", errno.ENOSPC),
        ("sqlite3.OperationalError: attempt to write a readonly database", errno.EROFS),
        ("OSError: [Errno 30] Read-only file system: '/x'", errno.EROFS),
    ],
)
def test_an_error_of_the_system_comes_up_as_one(error, number, log):
    told = failure("train", log(error), 1)
    assert isinstance(told, OSError)
    assert told.errno == number
    assert "in step 'train'" in str(told)
    assert told.filename == ("/x" if "/x" in error else None)
    assert "the whole log: " in str(told)


def test_a_users_error_and_any_other_stay_what_they_are(log):
    assert str(failure("ingest", log("UserError: train.tsv, line 3: no"), 1)) == "ingest: train.tsv, line 3: no"
    broken = failure("ingest", log("ValueError: boom"), 1)
    assert isinstance(broken, StepFailed)
    assert "ValueError: boom\n\nthe whole log" in str(broken)
