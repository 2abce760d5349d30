import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from mmkgc.components.runtime.digests import of_file, of_folder, of_json
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.files import atomic_path, locked, read_json, set_aside, write_json, write_text


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    target = tmp_path / "a.json"
    write_json(target, {"old": True})
    with pytest.raises(FileNotFoundError), atomic_path(target) as temporary:
        temporary.with_name("beside").write_text("half")  # what was to be written is not there at the end
    assert read_json(target) == {"old": True}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_write_follows_a_link_and_replaces_no_device_or_pipe(tmp_path):
    """A rename would put a file in the place of /dev/null."""
    (tmp_path / "link").symlink_to("kept/file")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "kept" / "file").read_text() == "new"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="this is a device or a pipe"):
        write_text(tmp_path / "pipe", "new")
    assert (tmp_path / "pipe").is_fifo()


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    target = tmp_path / "folder"
    for name in ("one", "two"):
        with atomic_path(target) as temporary:
            temporary.mkdir()
            (temporary / name).write_text(name)
    assert [path.name for path in target.iterdir()] == ["two"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_folder_digest_sees_names_and_bytes_but_not_times(tmp_path):
    def digest(files: dict[str, str], folder: str) -> str:
        for name, text in files.items():
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return of_folder(tmp_path / folder)

    same = digest({"a": "1", "b/c": "2"}, "first")
    assert digest({"b/c": "2", "a": "1"}, "second") == same
    assert digest({"a": "1", "b/c": "3"}, "third") != same
    assert digest({"a": "1", "c": "2"}, "fourth") != same


def test_a_json_digest_ignores_key_order():
    assert of_json({"a": 1, "b": [2]}) == of_json({"b": [2], "a": 1})


def test_a_file_digest_is_sha256(tmp_path):
    (tmp_path / "empty").touch()
    assert of_file(tmp_path / "empty") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


HOLD = """
import sys, time
from pathlib import Path
from mmkgc.components.runtime.files import locked
with locked(Path(sys.argv[1]), "training"):
    print("held", flush=True)
    time.sleep(100)
"""


def test_a_lock_refuses_names_its_holder_and_ends_with_it(tmp_path):
    lock = tmp_path / "folder" / "model.lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(UserError, match=f"training: process {holder.pid} does this already"),
            locked(lock, "training", 0.1),
        ):
            pass
        holder.kill()
    with locked(lock, "training", 10):
        pass
    assert not lock.exists()


def test_of_many_holders_one_is_inside_at_a_time(tmp_path):
    inside, most = [], []

    def work(number):
        with locked(tmp_path / "lock", "counting"):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.002)
            inside.remove(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(40)))
    assert most == [1] * 40


def test_a_damaged_file_gets_a_free_name_and_a_sentence(tmp_path, capsys):
    for number in (1, 2):
        path = tmp_path / "a.json"
        path.write_text(str(number))
        assert set_aside(path, "cut", "it is made anew").name == f"a.json.damaged-{number}"
    expected = f"warning: {path} is damaged (cut) and was set aside as a.json.damaged-2; it is made anew"
    assert capsys.readouterr().err.splitlines()[1] == expected


KILLED = """
import os, sys
from pathlib import Path
from mmkgc.components.runtime.files import atomic_path
with atomic_path(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), 9)
"""


def test_what_a_killed_writer_left_is_removed_by_the_next_one(tmp_path):
    target = tmp_path / "a[1].json"
    subprocess.run([sys.executable, "-c", KILLED, str(target)], check=False)
    (litter,) = tmp_path.iterdir()
    write_json(target, 1)
    assert litter.exists(), "it is young: its writer may be about to lock it"
    os.utime(litter, (1, 1))
    with atomic_path(target) as temporary:
        (mine,) = set(tmp_path.iterdir()) - {target}
        os.utime(mine, (1, 1))
        write_json(target, 2)  # another writer at the same time
        assert mine.exists()
        temporary.write_text("3")
    assert [path.name for path in tmp_path.iterdir()] == ["a[1].json"]
    assert read_json(target) == 3


def test_what_has_its_name_was_synced_before(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    with atomic_path(tmp_path / "folder") as temporary:
        (temporary / "below").mkdir(parents=True)
        (temporary / "below" / "file").touch()
        inside = str(temporary)
    assert {f"{inside}/below/file", f"{inside}/below", inside} == set(synced[:-1])
    assert synced[-1] == str(tmp_path)
