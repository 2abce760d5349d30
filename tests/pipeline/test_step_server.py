"""The processes of steps: forked from one that has imported what they need, each with its own output and end."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from mmkgc.pipeline.runners.step_process import StepServer
from mmkgc.pipeline.runners.step_server import EXECUTOR, MODULES

SCRIPT = f'_KFP_RUNTIME=true python3 -m {EXECUTOR} --component_module_path "$program_path/ephemeral_component.py" "$@"'
SHELL = ["sh", "-c"]


def step(body, tmp_path):
    """The command of a component with this body, as kfp writes it."""
    source = "def work():\n" + "".join(f"    {line}\n" for line in body.splitlines())
    given = json.dumps({"inputs": {}, "outputs": {"outputFile": str(tmp_path / "output.json")}})
    return ["sh", "-ec", SCRIPT, source, "--executor_input", given, "--function_to_execute", "work"]


@pytest.fixture(scope="module")
def server():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENBLAS_NUM_THREADS", "1")
        server = StepServer()
    with server:
        yield server


def test_a_step_is_a_child_of_a_process_with_all_imports_and_no_threads(server, tmp_path, capfd):
    """But for the allocator's: like OpenBLAS, it prepares for forks; OpenMP, which does not, has begun nothing yet."""
    body = """import os, sys
from pathlib import Path
from mmkgc.pipeline.runners.step_server import MODULES
names = [path.read_text().strip() for path in Path(f"/proc/{os.getppid()}/task").glob("*/comm")]
threads = len([name for name in names if name != "jemalloc_bg_thd"])
print("seen", os.getppid(), threads, set(MODULES) <= set(sys.modules), os.environ["ONE"])"""
    deadline = time.monotonic() + 200
    while True:
        assert server(step(body, tmp_path), {"ONE": "1"}) == 0, capfd.readouterr().out
        _, parent, threads, imported, one = next(
            line for line in capfd.readouterr().out.splitlines() if line.startswith("seen")
        ).split()
        assert (int(parent), threads, one) == (server._process.pid, "1", "1")
        if imported == "True":
            break
        assert time.monotonic() < deadline, f"{MODULES} are not imported"
        time.sleep(0.2)


def test_steps_may_compute_with_several_threads(server, tmp_path):
    body = """import numpy as np, torch
torch.set_num_threads(2)
square = torch.ones(600, 600)
assert float((square @ square).relu().sum()) == 600**3
assert float((square.numpy() @ square.numpy()).sum()) == 600**3"""
    assert [server(step(body, tmp_path)) for _ in range(2)] == [0, 0]


def test_a_traceback_and_the_exit_code_of_a_step_are_those_of_a_new_process(server, tmp_path, capfd):
    assert server(step("raise ValueError('boom')", tmp_path)) == 1
    assert "Traceback (most recent call last):" in capfd.readouterr().out
    assert server(step("import sys; sys.exit(7)", tmp_path)) == 7 == server.code


def test_other_commands_are_executed_and_their_end_is_remembered(server, capfd):
    command = "import os; print('heard', os.environ['ONE'], flush=True); os.kill(os.getpid(), 9)"
    assert server([sys.executable, "-c", command], {"ONE": "1"}) == -signal.SIGKILL == server.code
    assert server.peak > 1 << 20
    assert capfd.readouterr().out == "heard 1\n"
    assert server(["no-such-program"]) == 1


def test_steps_run_side_by_side(server, tmp_path):
    """Each of two steps ends only when the other one has begun."""
    meet = "echo > {mine}; while ! [ -e {other} ]; do sleep 0.05; done"
    places = tmp_path / "a", tmp_path / "b"
    scripts = [meet.format(mine=mine, other=other) for mine, other in (places, places[::-1])]
    codes = []
    threads = [threading.Thread(target=lambda s=s: codes.append(server([*SHELL, s]))) for s in scripts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert codes == [0, 0]


def _begun(server, tmp_path):
    """Start a step that goes on forever in a thread; the process and the thread."""
    mark = tmp_path / "pid"
    thread = threading.Thread(target=server, args=([*SHELL, f"echo $$ > {mark}; exec sleep 1000"],), daemon=True)
    thread.start()
    while not (mark.exists() and mark.read_text().strip()):
        time.sleep(0.02)
    return psutil.Process(int(mark.read_text())), thread


def test_a_server_that_is_closed_ends_its_steps(tmp_path):
    with StepServer() as server:
        process, thread = _begun(server, tmp_path)
    thread.join(30)
    assert not process.is_running()
    assert server.code == -signal.SIGTERM


def test_the_end_of_the_server_is_the_end_of_the_step(tmp_path):
    with StepServer() as server:
        process, thread = _begun(server, tmp_path)
        server._process.kill()
        process.kill()
        thread.join(30)
        assert server.code == -signal.SIGKILL
        assert server(["true"]) == -signal.SIGKILL


def test_a_step_may_be_told_to_stop_by_ctrl_c(server, tmp_path, capfd):
    body = "import os, signal\nos.kill(os.getppid(), signal.SIGINT)\nos.kill(os.getpid(), signal.SIGINT)"
    assert server(step(body, tmp_path)) != 0
    assert "KeyboardInterrupt" in capfd.readouterr().out
    assert server(["true"]) == 0


def test_temporary_files_of_a_step_are_removed(server, tmp_path):
    before = set(Path(os.environ.get("TMPDIR", "/tmp")).glob("tmp*/ephemeral_component.py"))
    assert server(step("pass", tmp_path)) == 0
    assert set(Path(os.environ.get("TMPDIR", "/tmp")).glob("tmp*/ephemeral_component.py")) <= before
