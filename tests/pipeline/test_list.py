"""``mmkgc list``: what is read from the sources is what an import finds."""

import pytest
from click.testing import CliRunner

from mmkgc.components.kge.listing import listing
from mmkgc.components.runtime.errors import UserError
from mmkgc.pipeline.cli.list import CLASSES, _detailed, _entries, _plural, list_


@pytest.mark.parametrize("kind", [*CLASSES, "study"])
def test_names_and_summaries_of_the_sources_are_those_of_the_classes(kind):
    plural = "studies" if kind == "study" else _plural(kind)
    read = {entry.name: entry.summary for entry in _entries(plural)}
    assert read == {entry.name: entry.summary for entry in _detailed(plural)}


def test_every_part_of_the_model_library_is_listed():
    assert set(listing()) == set(CLASSES) - {"encoder"}


def test_a_kind_shows_hyper_parameters_and_all_kinds_do_not():
    alone = CliRunner().invoke(list_, ["loss"], catch_exceptions=False).output
    assert "margin: " in alone
    everything = CliRunner().invoke(list_, [], catch_exceptions=False).output
    assert "self-adversarial" in everything
    assert "margin: " not in everything
    with pytest.raises(UserError, match="no such kind"):
        CliRunner().invoke(list_, ["lossy"], catch_exceptions=False)
