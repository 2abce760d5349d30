"""Studies: every bundled one is a grid of valid recipes."""

import pytest

from mmkgc.pipeline.studies import config


@pytest.mark.parametrize("name", config.names())
@pytest.mark.parametrize("dataset", ["countries", "mkg-y", "db15k"])
def test_every_cell_of_a_bundled_study_is_a_recipe(name, dataset):
    _, study = config.load(name)
    cells = list(config.cells(study, dataset, 2))
    assert len(cells) == 2 * len(study.systems) * len(study.values)
    assert len({(cell.label) for cell in cells}) == len(cells)
    settings = [cell.recipe.model_dump_json() for cell in cells]
    assert len(set(settings)) == len(settings)  # no two cells are the same training
