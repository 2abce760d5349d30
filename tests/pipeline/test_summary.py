"""What ``mmkgc run`` prints at its end is read from the store, wherever that is."""

import importlib
import json
import sys

import pytest
from click.testing import CliRunner

from mmkgc.feature_store.opening import open_storage
from mmkgc.pipeline.cli import mmkgc
from mmkgc.pipeline.runners import local

METRICS = {"mr": 2.0, "mrr": 0.5, "hits_at_1": 0.25}
OUTPUTS = {
    "graph": ("graph.json", {"notes": ["three triples were twice there"], "warnings": []}),
    "evaluation": (
        "metrics.json",
        {
            "metrics": {"realistic": dict.fromkeys(("both", "head", "tail"), METRICS)},
            "intervals": {"mrr": [0.4, 0.6]},
            "protocol": {"ties": "realistic"},
            "queries": 420,
        },
    ),
    "archive": ("archive.json", {}),
    "registration": ("registration.json", {"model": "places", "version": "7", "alias": "champion", "promoted": True}),
}


@pytest.fixture(params=["folder", "s3"])
def storage(request, s3_endpoint, tmp_path, monkeypatch):
    for name, value in {"ENDPOINT_URL": s3_endpoint, "ACCESS_KEY_ID": "any", "SECRET_ACCESS_KEY": "any"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    root = str(tmp_path / "store") if request.param == "folder" else f"s3://bucket/{tmp_path.name}"
    monkeypatch.setenv("MMKGC_STORAGE", root)
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path / "home"))
    return open_storage()


def test_a_run_ends_with_its_metrics_whether_the_store_is_a_folder_or_a_bucket(storage, tmp_path, monkeypatch):
    uris = {}
    importlib.import_module("mmkgc.pipeline.cli.run")
    for name, (file, content) in OUTPUTS.items():
        (tmp_path / name).mkdir()
        content = content | {"baseline": {"name": "relation popularity", "both": METRICS}, "reason": "+0.2 MRR"}
        (tmp_path / name / file).write_text(json.dumps(content))
        (tmp_path / name / "completions.json").write_text(json.dumps([{"head": "country/a", "relation": "borders"}]))
        uris[name] = storage.publish(tmp_path / name, name).uri
    monkeypatch.setattr(local, "run", lambda *_, **__: local.Finished(uris, "a1b2"))
    provenance = {
        "made_from": {"features": {}},
        "best_epoch": 0,
        "start": {"model": "models:/places/6", "entities": 1000, "new_entities": 2, "removed_entities": 0},
    }
    monkeypatch.setattr(sys.modules["mmkgc.pipeline.cli.run"], "_provenance", lambda archive: provenance)
    result = CliRunner().invoke(
        mmkgc, ["run", "countries", "--no-serve", "--set", "propose.enabled=false"], catch_exceptions=False
    )
    assert result.exit_code == 0
    assert "three triples were twice there" in result.output
    assert "mmkgc complete --name places country/a borders" in result.output
    assert "began with models:/places/6: 1,000 entities keep their vectors; new: 2, gone: 0" in result.output
    assert "no epoch was better on the development split, so the model is kept as it began" in result.output
    assert "registered places version 7: now 'champion'" in result.output
    assert "verdict: not distinguishable from relation popularity" in result.output
    assert "MLflow run   a1b2" in result.output
