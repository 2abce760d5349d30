"""Exported models can be used without the registry."""

import pytest
from click.testing import CliRunner

from mmkgc.components.runtime import digests
from mmkgc.components.runtime.errors import UserError
from mmkgc.pipeline.cli.export import export
from mmkgc.serving.engine.engine import Engine
from mmkgc.serving.torchserve.archive import read_manifest


def exported(*arguments):
    result = CliRunner().invoke(export, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_bundle_is_copied_whole(bundle_folder, tmp_path, engine):
    exported("--bundle", bundle_folder, "--to", tmp_path / "model")
    assert digests.of_folder(tmp_path / "model") == digests.of_folder(bundle_folder)
    query = {"head": "e1", "relation": "r1", "k": 3}
    assert Engine.load(tmp_path / "model").answer([query]) == engine.answer([query])


def test_an_archive_is_one_that_torchserve_loads(bundle_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path / "home"))
    assert "model.mar" in exported("mine", "--bundle", bundle_folder, "--to", tmp_path / "model.mar")
    assert read_manifest(tmp_path / "model.mar")["modelName"] == "mine"


def test_nothing_is_overwritten_and_contradictions_are_refused(bundle_folder, tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(UserError, match="exists already"):
        exported("--bundle", bundle_folder, "--to", tmp_path / "model")
    with pytest.raises(UserError, match="made from a registered version"):
        exported("--bundle", bundle_folder, "--to", tmp_path / "other", "--pyfunc")
    assert not (tmp_path / "other").exists()


def test_the_model_may_be_named_in_both_ways_but_not_twice(tmp_path):
    asked = ["mine", "--name", "yours", "--to", str(tmp_path / "model")]
    refused = CliRunner().invoke(export, asked)
    assert refused.exit_code == 2
    assert "MODEL is mine, but --name is yours: give one of them" in refused.output
