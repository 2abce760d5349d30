"""What the recipes of the papers' systems say about themselves, against the code that they name."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from mmkgc.components.kge.fusions import FUSIONS
from mmkgc.components.kge.fusions.base import Fusion
from mmkgc.components.runtime.errors import UserError
from mmkgc.pipeline import composition, config, systems
from mmkgc.pipeline.cli.list import list_

SYSTEMS = composition.stems(composition.SYSTEMS)
PAGE = (Path(__file__).parents[2] / "docs" / "systems.md").read_text()


@pytest.mark.parametrize("system", SYSTEMS)
def test_what_a_system_needs_is_what_its_code_needs(system):
    about, train = systems.about(system), config.load(f"mkg-y-{system}").train
    without = train.incompatibility(()) is None
    assert about.features == ("needed" if not without else "used" if train.uses("textual") else "none")
    fits = FUSIONS.lookup(train.model.fusion["name"]).fit is not Fusion.fit
    assert ("development split" in about.also) == fits


@pytest.mark.parametrize("system", SYSTEMS)
def test_paper_and_year_are_those_of_the_summary_and_of_the_documents(system):
    about = systems.about(system)
    assert f"{about.year})" in composition.summary(system)
    title = about.paper.partition(": ")[2]
    row = next(line for line in PAGE.splitlines() if f"`{system}`" in line)
    assert title in row
    assert str(about.year) in row
    assert about.venue in row


def test_list_systems_shows_paper_needs_and_recipes_of_each():
    listed = CliRunner().invoke(list_, ["systems"], catch_exceptions=False).output
    for system in SYSTEMS:
        assert re.search(
            rf"^  {system} +\S.*\n +paper: .*\d{{4}}\n +needs: .+\n +recipes: .*mkg-y-{system}$", listed, re.M
        )


def test_a_description_with_a_wrong_key_is_refused_with_its_place(tmp_path, monkeypatch):
    (tmp_path / "new.yaml").write_text("about: {paper: x, year: 2020, features: some}\n")
    monkeypatch.setattr(composition, "SYSTEMS", tmp_path)
    with pytest.raises(UserError, match=r"new\.yaml, about\.features: input should be"):
        systems.about("new")


def test_a_description_is_not_inherited(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("base: adamf\ndataset: my/graph\n")
    assert composition.from_file(path).about == {}


def test_systems_on_countries_have_the_features_of_its_recipe():
    assert config.load("countries-adamf").extract == config.load("countries").extract
