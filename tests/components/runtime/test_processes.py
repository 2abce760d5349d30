"""What a command starts ends with it, however it ends."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from mmkgc.components.runtime import processes

pytestmark = pytest.mark.slow

COMMAND = """
import subprocess, sys, tempfile, time
from mmkgc.components.runtime.processes import supervised
with supervised():
    tempfile.mkdtemp()
    child = subprocess.Popen(["sh", "-c", "sleep 100 & setsid sleep 100 & wait"], start_new_session=True)
    print(child.pid, flush=True)
    child.wait()
"""


def started(tmp_path: Path, *before: str) -> tuple[subprocess.Popen, list[psutil.Process]]:
    """A supervised command and all processes below it but for its guard."""
    command = [*before, sys.executable, "-c", COMMAND]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    child = psutil.Process(int(process.stdout.readline()))
    while len(below := child.children(recursive=True)) < 2:
        time.sleep(0.02)
    return process, [child, *below]


def assert_gone(family: list[psutil.Process], folder: Path) -> None:
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
    deadline = time.monotonic() + 30
    while list(folder.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("number", [*processes.SIGNALS, signal.SIGKILL])
def test_children_and_temporary_files_end_with_their_command(number: signal.Signals, tmp_path: Path) -> None:
    process, family = started(tmp_path)
    process.send_signal(number)
    assert process.wait(60) == (-number if number == signal.SIGKILL else 128 + number)
    assert_gone(family, tmp_path)


def test_a_signal_that_was_ignored_before_stays_so(tmp_path: Path) -> None:
    process, family = started(tmp_path, "nohup")
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.terminate()
    assert process.wait(60) == 128 + signal.SIGTERM
    assert_gone(family, tmp_path)


def test_only_folders_of_ended_processes_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    mine = processes.private_folder()
    code = "from mmkgc.components.runtime.processes import private_folder; print(private_folder())"
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    (tmp_path / f"{processes.FOLDER}of-another-program").mkdir()
    assert Path(run.stdout.strip()).exists()
    processes.sweep()
    assert {path.name for path in tmp_path.iterdir()} == {mine.name, f"{processes.FOLDER}of-another-program"}
    processes.remove(mine)
    assert not mine.exists()


def test_only_a_process_of_this_machine_is_known_to_have_ended() -> None:
    me = processes.identity()
    host, space, pid, born = me.split(" ")
    assert not processes.has_ended(me)
    assert processes.has_ended(" ".join([host, space, pid, str(float(born) - 60)])), "the number was given again"
    assert processes.has_ended(" ".join([host, space, str(2**22 + 1), born]))
    assert not processes.has_ended(" ".join(["elsewhere", space, str(2**22 + 1), born]))
    assert not processes.has_ended("nonsense")


IN_A_TRANSACTION = """
import time, types
code = '''
import time
def transaction(seconds):
    print("open", flush=True)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)
    print("committed", flush=True)
'''
store = types.ModuleType("sqlalchemy.engine")
exec(code, store.__dict__)
from mmkgc.components.runtime.processes import supervised, terminable
with {context}():
    store.transaction({seconds})
    time.sleep(100)
"""


@pytest.mark.parametrize("context", ["supervised", "terminable"])
@pytest.mark.parametrize(("seconds", "committed"), [(1, True), (60, False)])
def test_a_signal_waits_for_a_transaction_but_not_for_ever(context: str, seconds: int, committed: bool) -> None:
    code = IN_A_TRANSACTION.format(context=context, seconds=seconds)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "open\n"
    process.terminate()
    assert process.wait(60) == 128 + signal.SIGTERM
    assert process.stdout.read() == "committed\n" * committed
