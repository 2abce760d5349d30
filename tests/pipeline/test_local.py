"""The local runner's cache: what is damaged or changed is dropped, so that its step runs again."""

import json

import pytest

from mmkgc.components.runtime import digests
from mmkgc.pipeline.runners.local import forget_changed_outputs


@pytest.mark.parametrize("damage", ["", '{"graph": {"uri"', "[1]", '{"graph": {"name": "x"}}', '{"graph": {"uri": 7}}'])
def test_a_damaged_cache_entry_is_set_aside_and_told(damage, tmp_path, capsys):
    (tmp_path / "0a1b.json").write_text(damage)
    forget_changed_outputs(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["0a1b.json.damaged-1"]
    assert "the step runs again" in capsys.readouterr().err


def test_an_entry_lasts_as_long_as_its_output_is_what_its_name_says(tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "graph.json").write_text("{}")
    output = (tmp_path / "new").rename(tmp_path / digests.of_folder(tmp_path / "new"))
    entry = tmp_path / "cache" / "0a1b.json"
    entry.parent.mkdir()
    entry.write_text(json.dumps({"graph": {"uri": str(output)}, "count": 3}))
    forget_changed_outputs(entry.parent)
    assert entry.exists()
    (output / "graph.json").write_text("[]")
    forget_changed_outputs(entry.parent)
    assert not entry.exists()
