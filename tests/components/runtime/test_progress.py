import json

from mmkgc.components.runtime import progress
from mmkgc.components.runtime.progress import Meter, track


def test_items_pass_through_and_the_parent_process_is_told(tmp_path, monkeypatch):
    state = tmp_path / "progress.json"
    monkeypatch.setenv("MMKGC_PROGRESS", str(state))
    assert list(track([1, 2, 3], "reading", unit="rows")) == [1, 2, 3]
    assert json.loads(state.read_text()) == {
        "description": "reading",
        "done": 3,
        "total": 3,
        "unit": "rows",
        "note": "",
    }


def test_without_a_terminal_the_log_gets_a_line_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    meter = Meter("training", 10, "epochs", done=4)
    meter.advance(note="dev MRR 0.41")
    printed = capsys.readouterr().err
    assert printed.startswith("training 5/10")
    assert printed.endswith("· dev MRR 0.41\n")
