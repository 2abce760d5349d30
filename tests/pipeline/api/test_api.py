"""``import mmkgc``: public names, imported when they are used, and results as tables."""

import subprocess
import sys

import pytest

import mmkgc
from mmkgc.components.runtime.errors import UserError
from mmkgc.pipeline import config
from mmkgc.pipeline.api.run import metrics_frame

LAZY = """
import sys
import mmkgc
heavy = {"torch", "pandas", "numpy", "pydantic", "kfp", "mlflow"} & set(sys.modules)
assert not heavy, heavy
assert set(mmkgc.__all__) <= set(dir(mmkgc))
"""


def test_importing_the_package_imports_nothing_else():
    subprocess.run([sys.executable, "-c", LAZY], check=True)


def test_every_public_name_exists_and_says_what_it_is():
    for name in mmkgc.__all__:
        assert getattr(mmkgc, name).__doc__, name


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'complete'"):
        mmkgc.complete  # noqa: B018


def test_every_bundled_recipe_has_a_description():
    found = mmkgc.recipes()
    assert set(found) == set(config.names())
    assert found["countries"].startswith("The bundled graph")
    assert found["mkg-y-adamf-mat"] != found["mkg-y-adamf"]


def test_metrics_are_a_row_a_split_scorer_and_side():
    both, head = {"mrr": 0.5, "hits_at_1": 0.4}, {"mrr": 0.3, "hits_at_1": 0.2}
    table = metrics_frame(
        {
            "protocol": {"ties": "realistic"},
            "metrics": {"realistic": {"both": both, "head": head}, "optimistic": {"both": head}},
            "baseline": {"name": "relation popularity", "both": head},
        },
        dev_mrr=0.6,
    )
    assert table.index.names == ["split", "scorer", "side"]
    assert table.loc[("test", "model", "both")].to_dict() == both
    assert table.loc[("test", "relation popularity", "both"), "mrr"] == 0.3
    assert table.loc[("development", "model", "both"), "mrr"] == 0.6
    assert len(table) == 4


def test_settings_of_a_recipe_object_are_refused():
    with pytest.raises(UserError, match="this is a Recipe — change its values instead"):
        mmkgc.run(config.load("countries"), {"train.epochs": 1})
