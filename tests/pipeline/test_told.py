"""What a run tells of the data that it took."""

import json

import numpy as np
import pytest

from mmkgc.feature_store.manifest import digest_of
from mmkgc.feature_store.opening import open_storage
from mmkgc.feature_store.parts import FAILED, OK, PARTIAL, Row
from mmkgc.feature_store.spec import FeatureSpec
from mmkgc.feature_store.writer import Entity, FeatureWriter
from mmkgc.pipeline.cli import summary
from mmkgc.pipeline.cli.run import _print_data, unusable_items


@pytest.fixture
def storage(tmp_path, monkeypatch):
    monkeypatch.setenv("MMKGC_STORAGE", str(tmp_path / "store"))
    return open_storage()


def features(storage, modality, statuses):
    """Digest of a manifest with an entity of each status."""
    encoder = {"encoder": "toy", "weights": "random", "seed": 0, "sha256": "0" * 64, "dimension": 4, "output": "pooled"}
    writer = FeatureWriter(FeatureSpec(modality, encoder, "float32"), storage)
    rows = [
        Row(f"e{i}", f"c{i}", None if status == FAILED else np.ones(4, np.float32), 1, status, "why")
        for i, status in enumerate(statuses)
    ]
    writer.add(rows)
    return digest_of(writer.commit([Entity(row.key, row.content) for row in rows]).uri)


def test_items_that_extraction_could_not_use_are_told(storage, tmp_path):
    made = {"visual": features(storage, "visual", [OK, FAILED, PARTIAL]), "textual": features(storage, "textual", [OK])}
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "bundle.json").write_text(json.dumps({"provenance": {"made_from": {"features": made}}}))
    stored = storage.publish(tmp_path / "bundle", "bundles")
    (tmp_path / "archive.json").write_text(json.dumps({"bundle": stored.digest}))
    assert list(unusable_items(tmp_path)) == [
        f"visual features: items of 2 entities cannot be used (mmkgc features show {made['visual'][:12]})"
    ]


def test_of_entities_with_one_name_only_the_answer_is_gold(capsys):
    predictions = [
        {"key": f"p{i}", "name": "J. Smith", "score": -1.0, "known": i == 3, "probability": None} for i in range(4)
    ]
    completion = {"query": "(a, knows, ?)", "gold": "J. Smith", "gold_key": "p2", "rank": 3.0}
    show(completion, predictions)
    marked = [line for line in capsys.readouterr().out.splitlines() if "✓ the fact that was held out" in line]
    assert [line.split(".")[0].strip() for line in marked] == ["3"]
    show(completion | {"gold_key": "p9", "rank": 7.5}, predictions)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "✓ the fact that was held out" in line]
    assert line.startswith("   7.5. J. Smith")


def show(completion, predictions):
    """Print a test query with the model's answers."""
    answers = iter([[{"predictions": predictions}], [{"support": [], "shares": {}}]])
    for line in summary.completions([{"head": "h", "relation": "r"} | completion], lambda queries: next(answers)):
        print(line)


def test_names_cannot_order_the_terminal_about(capsys):
    evil = "\x1b[2Jname\x07"
    predictions = [{"key": "p0", "name": evil, "score": -1.0, "known": False, "probability": None}]
    show({"query": f"({evil}, knows, ?)", "gold": evil, "gold_key": "p1", "rank": 2.0}, predictions)
    _print_data({"notes": [evil], "warnings": [evil]})
    out = capsys.readouterr().out
    assert out.count(r"\x1b[2Jname\x07") == 5
    assert "\x1b[2J" not in out
    assert "\x07" not in out
