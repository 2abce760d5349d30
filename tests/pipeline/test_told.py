"""What a run tells of the data that it took."""

import json

import numpy as np
import pytest

from mmkgc.feature_store.manifest import digest_of
from mmkgc.feature_store.opening import open_storage
from mmkgc.feature_store.parts import FAILED, OK, PARTIAL, Row
from mmkgc.feature_store.spec import FeatureSpec
from mmkgc.feature_store.writer import Entity, FeatureWriter
from mmkgc.pipeline import config
from mmkgc.pipeline.cli import opening
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


def test_names_cannot_order_the_terminal_about(capsys):
    evil = "\x1b[2Jname\x07"
    _print_data({"notes": [evil], "warnings": [evil]})
    out = capsys.readouterr().out
    assert out.count(r"\x1b[2Jname\x07") == 2
    assert "\x1b[2J" not in out
    assert "\x07" not in out


@pytest.mark.parametrize(("settings", "told"), [(["train.model.interaction=distmult"], 1), ([], 0)])
def test_what_is_probably_not_meant_is_told_before_the_run(settings, told, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path))
    asked = config.find("countries", settings)
    opening.recipe(config.checked(asked), asked, "countries", {})
    assert capsys.readouterr().err.count("WARNING: train.loss.margin is 9, which suits distances") == told
