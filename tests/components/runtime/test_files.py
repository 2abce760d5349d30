import pytest

from mmkgc.components.runtime.digests import of_file, of_folder, of_json
from mmkgc.components.runtime.files import atomic_path, read_json, write_json


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    target = tmp_path / "a.json"
    write_json(target, {"old": True})
    with pytest.raises(FileNotFoundError), atomic_path(target) as temporary:
        temporary.with_name("beside").write_text("half")  # what was to be written is not there at the end
    assert read_json(target) == {"old": True}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


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
