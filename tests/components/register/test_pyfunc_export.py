"""A registered version, exported as an MLflow model, answers without the registry."""

import pandas as pd
import pytest
from click.testing import CliRunner

from mmkgc.pipeline.cli.export import export


@pytest.mark.slow
def test_an_exported_pyfunc_answers(submit, toy_mmkg, toy_bundle, tmp_path):
    import mlflow

    submit(toy_mmkg, toy_bundle)
    target = tmp_path / "exported"
    result = CliRunner().invoke(export, ["--name", "toy", "--pyfunc", "--to", str(target)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert [path.name for path in tmp_path.iterdir() if "download" in path.name or path.name.startswith("tmp")] == []
    head, relation = toy_mmkg.graph.entities.keys[0], toy_mmkg.graph.relations.keys[0]
    answers = mlflow.pyfunc.load_model(str(target)).predict(pd.DataFrame([{"head": head, "relation": relation}]))
    assert len(answers)
