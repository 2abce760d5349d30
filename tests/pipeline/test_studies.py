"""Studies: every bundled one is a grid of valid recipes."""

import shutil
import textwrap
from dataclasses import replace
from unittest.mock import ANY, Mock

import numpy as np
import pytest
from click.testing import CliRunner

from mmkgc.components.runtime import tracking
from mmkgc.components.runtime.errors import UserError
from mmkgc.feature_store.opening import open_storage
from mmkgc.pipeline import cells
from mmkgc.pipeline.bench import read_rows
from mmkgc.pipeline.cli.study import study as study_verb
from mmkgc.pipeline.config import load_pair
from mmkgc.pipeline.studies import config, figures, measure, results, tables


@pytest.mark.parametrize("name", config.names())
@pytest.mark.parametrize("dataset", ["countries", "mkg-y", "db15k"])
def test_every_cell_of_a_bundled_study_is_a_recipe(name, dataset):
    _, study = config.load(name)
    cells = list(config.cells(study, dataset, 2))
    assert len(cells) == 2 * len(study.systems) * len(study.values)
    assert len({(cell.label) for cell in cells}) == len(cells)
    settings = [cell.recipe.model_dump_json() for cell in cells]
    assert len(set(settings)) == len(settings)  # no two cells are the same training


def study(tmp_path, text):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    return config.load(str(path))[1]


OWN = """
systems: {small: adamf, large: {recipe: adamf, set: {train.model.dimension: 64}}}
value: margin
values: {key: train.loss.margin, of: [4, 9]}
set: {train.epochs: 2}
for: {countries: {train.epochs: 3}}
measure: [test/mrr, train/loss*]
printed: [{source: a paper, values: {"small, 4": {test/mrr: 12.5}}}]
"""


def test_a_study_of_ones_own_is_systems_by_values_by_seeds(tmp_path):
    own = study(tmp_path, OWN)
    cells = list(config.cells(own, "countries", 2, ("train.batch_size=77",)))
    found = [(c.system, c.value, c.seed, c.recipe.train.model.dimension, c.recipe.train.loss["margin"]) for c in cells]
    assert found[:4] == [
        ("small", "4", 0, 200, 4),
        ("small", "9", 0, 200, 9),
        ("large", "4", 0, 64, 4),
        ("large", "9", 0, 64, 9),
    ]
    assert [row[2] for row in found] == [0] * 4 + [1] * 4
    assert {c.recipe.train.epochs for c in cells} == {3}  # those for the dataset
    assert {c.recipe.train.batch_size for c in cells} == {77}
    assert {c.recipe.train.epochs for c in config.cells(own, "mkg-y", 1)} == {2}


def test_a_folder_is_a_dataset_too(tmp_path):
    cells = list(config.cells(study(tmp_path, OWN), str(tmp_path), 1))
    assert {cell.recipe.dataset for cell in cells} == {str(tmp_path)}
    own = study(tmp_path, OWN.replace("countries:", "db15k:"))
    (tmp_path / "DB15K").mkdir()
    assert {cell.recipe.train.epochs for cell in config.cells(own, str(tmp_path / "DB15K"), 1)} == {3}


def test_a_study_can_be_restricted_to_some_of_its_systems(tmp_path):
    own = study(tmp_path, OWN)
    assert [cell.system for cell in config.cells(own.restricted(["large"]), "countries", 1)] == ["large", "large"]
    assert list(own.restricted(["large", "small"]).systems) == ["small", "large"]  # in the study's order
    with pytest.raises(UserError, match="did you mean 'small'"):
        own.restricted(["smal"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("systems: {}", "systems: dictionary should have at least 1 item"),
        ("systems: {a: adamf}\ndraw: [pie]", r"draw\.0: input should be"),
        ("systems: {a: adamf}\nmesure: [x]", "mesure: extra inputs"),
    ],
)
def test_a_wrong_study_is_refused_with_its_place(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        study(tmp_path, text)


def test_an_unknown_study_and_a_wrong_key_are_refused(tmp_path):
    with pytest.raises(UserError, match="did you mean 'mans-beta'"):
        config.load("mans-bet")
    wrong = study(tmp_path, "systems: {a: {recipe: adamf, set: {train.negativ.count: 3}}}")
    with pytest.raises(UserError, match=r"train\.negativ"):
        list(config.cells(wrong, "countries", 1))


def test_the_table_shows_means_beside_printed_numbers_and_what_failed(tmp_path):
    own = study(tmp_path, OWN)

    def row(system, value, seed, mrr):
        return {"system": system, "value": value, "seed": seed, "metrics": {"test/mrr": mrr, "train/loss": 0.5}}

    rows = [row("small", "4", 0, 0.2), row("small", "4", 1, 0.3), row("large", "4", 0, 0.1)]
    rows.append({"system": "large", "value": "9", "seed": 0, "problem": "the loss is NaN"})
    table = tables.table(own, rows, {"test/mrr": 0.05})
    assert table.header == ["", "test MRR (%)", "training loss", "test MRR (%), a paper"]
    assert table.rows == [
        ["small, 4", "25.00 ± 7.07", "0.5 ± 0", "12.5"],
        ["large, 4", "10.00", "0.5", ""],
        ["large, 9", "–", "–", ""],
        ["relation popularity", "5.00", "", ""],
    ]
    assert [block.text for block in tables.problems(rows)] == ["large 9 seed 0: the loss is NaN"]


def test_what_a_paper_prints_stands_beside_results_on_its_own_dataset_alone():
    _, study = config.load("systems-mkg-y")
    rows = [{"system": "rotate", "value": "", "seed": 0, "metrics": {"test/mrr": 0.3}}]
    shown = {data: tables.table(study.on(data), rows) for data in ("countries", "mkg-y", "data/MKG-W", "DB15K")}
    assert {data: of.rows[0][2:] for data, of in shown.items()} == {
        "countries": [],
        "mkg-y": ["34.95"],
        "data/MKG-W": ["33.67"],
        "DB15K": ["29.28"],
    }


def test_measures_of_a_pattern_stand_in_natural_order_and_one_value_makes_no_curve(tmp_path):
    own = study(tmp_path, OWN.replace("train/loss*]", "train/gap*]\ndraw: [curves]"))
    rows = [
        {"system": "small", "value": value, "seed": 0, "metrics": {"test/mrr": 0.2, "train/gap_t10": 1.0} | more}
        for value, more in (("4", {"train/gap_t5": 2.0}), ("9", {"train/gap_uniform": 3.0}))
    ]
    assert tables.measures(own, rows) == ["test/mrr", "train/gap_t5", "train/gap_t10", "train/gap_uniform"]
    drawn = [block.path.name for block in results.draw(own, rows, "", {}, tmp_path)]
    assert drawn == ["test_mrr.png", "train_gap_t10.png"]


def test_a_study_says_how_its_numbers_are_to_be_read(tmp_path):
    own = study(tmp_path, OWN)
    one = {"system": "small", "value": "4", "seed": 0, "metrics": {"test/mrr": 0.2}}
    assert results.about(own, "countries", [one]).endswith("Dataset countries, 1 seed.")
    assert results.about(own, "path/to/DB15K", [one]).endswith("Dataset DB15K, 1 seed.")
    two = [one, one | {"seed": 1, "metrics": {"test/mrr": 0.2, "train/loss": 1.0}}]
    told = results.about(own, "countries", two)
    assert told.endswith("2 seeds; mean ± standard deviation. Metrics of the training are those of the last epoch.")


def test_figures_are_drawn_of_values_measures_and_epochs(tmp_path):
    own = study(tmp_path, OWN)
    rows = [
        {
            "system": s,
            "value": v,
            "seed": seed,
            "metrics": {"test/mrr": 0.2 + seed / 10},
            "curves": {"loss": [[1, 2.0], [2, 1.5]]},
        }
        for s in ("small", "large")
        for v in ("4", "9")
        for seed in (0, 1)
    ]
    sweep = figures.sweep(own, rows, "test/mrr", 0.1).axes[0]
    assert [line.get_ydata().tolist() for line in sweep.lines[:2]] == [[25, 25], [25, 25]]
    assert sweep.lines[0].get_xdata().tolist() == [4, 9]
    assert [tick.get_text() for tick in sweep.get_xticklabels()] == ["4", "9"]  # no other value, such as 4.5 groups
    assert len(figures.bars(own, rows, ["test/mrr"]).axes[0].patches) == 4
    assert len(figures.epochs(own, rows, ["loss"]).axes[0].lines) == 4


def test_a_figure_mixes_no_units(tmp_path):
    """Percent have an axis of their own; a curve of the development MRR is in percent, as its label says."""
    own = study(tmp_path, OWN)
    rows = [
        {
            "system": s,
            "value": "4",
            "seed": 0,
            "metrics": {"test/mrr": 0.2, "train/gap": 3.0} | ({"train/other": 1.0} if s == "small" else {}),
            "curves": {"dev/mrr": [[1, 0.2], [2, 0.25]], "gap": [[1, 3.0]], "other": [[1, 1.0]]},
        }
        for s in ("small", "large")
    ]
    shares, gaps = figures.bars(own, rows, ["test/mrr", "train/gap", "train/other"]).axes
    assert [bar.get_width() for bar in shares.patches] == [20, 20]
    assert [bar.get_width() for bar in gaps.patches] == [3, 1, 3]  # "large" has no "other": no bar of length 0
    [development] = figures.epochs(own, rows, ["dev/mrr"]).axes
    assert development.lines[0].get_ydata().tolist() == [20, 25]
    panels = figures.epochs(own, rows, ["gap", "other"]).axes  # several metrics: a panel for each system
    assert [[line.get_label() for line in axes.lines] for axes in panels] == [["gap", "other"]] * 2


def test_lines_of_a_figure_are_told_apart(tmp_path):
    own = study(tmp_path, OWN)
    names = [f"level {number}" for number in range(len(figures.COLOURS) + 2)]
    row = {"system": "small", "value": "4", "seed": 0, "metrics": {}, "curves": {name: [[1, 0.5]] for name in names}}
    [axes] = figures.epochs(own, [row], names).axes
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines}) == len(names)


def test_the_map_shows_every_entity_that_has_a_vector():
    """Types beyond the colours are drawn together, and no legend names a type without points."""
    kinds = [f"type {number}" for number in range(len(figures.COLOURS) + 2)]
    xy = np.zeros((len(kinds), 2))
    image = np.where(np.arange(len(kinds))[:, None] == 0, xy, np.nan)
    [axes] = figures.joint_map({"structure": xy, "visual": image}, kinds, "PCA").axes
    assert sum(len(drawn.get_offsets()) for drawn in axes.collections) == len(kinds) + 1
    labels = [drawn.get_label() for drawn in axes.collections]
    assert labels[-2:] == ["other, structure", "type 0, visual"]


@pytest.mark.slow
def test_a_study_runs_resumes_and_keeps_finished_cells(tmp_path, monkeypatch):
    """A second call trains nothing again; all cells are nested runs of the study's run."""
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path / "home"))
    text = """
        systems:
          adamf: adamf
          refused:
            recipe: adamf
            set:
              train.negatives: {name: dhns, kept: fused}
              train.model.fusion: {name: ikrl, modality: textual}
        seeds: 1
        set:
          extract.visual: null
          extract.numeric: null
          train.epochs: 1
          train.model.dimension: 8
          train.negatives.count: 2
        measure: [dev/mrr, test/mrr, seconds/epoch]
        """
    path = tmp_path / "own.yaml"
    path.write_text(textwrap.dedent(text))
    first = CliRunner().invoke(study_verb, [str(path)], catch_exceptions=False)
    assert "adamf" in first.output
    assert "makes no fused vector" in first.output
    folder = tmp_path / "home" / "studies" / "own-countries"
    cells = (folder / "cells.jsonl").read_text().splitlines()
    assert {"study.md", "study.html"} <= {file.name for file in folder.iterdir()}
    second = CliRunner().invoke(study_verb, [str(path)], catch_exceptions=False)
    assert second.output.splitlines()[-6:] == first.output.splitlines()[-6:]
    again = (folder / "cells.jsonl").read_text().splitlines()
    assert again[: len(cells)] == cells
    assert sum('"system": "adamf"' in line for line in again) == 1
    api = tracking.client()
    experiment = api.get_experiment_by_name("study-own").experiment_id
    runs = api.search_runs([experiment])
    children = [run for run in runs if tracking.PARENT_TAG in run.data.tags]
    assert "adamf, seed 0" in {run.info.run_name for run in children}
    assert len(runs) - len(children) == 2


def test_a_cell_that_was_ended_while_it_was_ranked_is_not_trained_again(tmp_path, monkeypatch):
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path / "home"))
    path = tmp_path / "own.yaml"
    changes = "extract.visual: null, extract.textual: null, train.epochs: 1, train.model.dimension: 8"
    path.write_text(f"{{systems: {{transe: transe}}, seeds: 1, set: {{{changes}}}}}")
    ranks = measure.test_metrics
    monkeypatch.setattr(measure, "test_metrics", Mock(side_effect=KeyboardInterrupt))
    assert CliRunner().invoke(study_verb, [str(path)]).exit_code
    monkeypatch.setattr(measure, "test_metrics", ranks)
    monkeypatch.setattr(cells, "train", Mock(side_effect=AssertionError("trained again")))
    done = CliRunner().invoke(study_verb, [str(path)], catch_exceptions=False)
    assert "transe" in done.output
    (row,) = read_rows(tmp_path / "home" / "studies" / "own-countries" / "cells.jsonl")
    assert row["metrics"].keys() >= {"test/mrr", "seconds/total", "memory/peak_gb"}


def test_a_cell_is_trained_again_when_its_bundle_has_left_the_store(tmp_path, monkeypatch):
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path / "home"))
    changes = ["extract.visual=null", "extract.textual=null", "train.epochs=1", "train.model.dimension=8"]
    recipe, storage = load_pair("countries", "transe", changes), open_storage()
    inputs = cells.prepare(recipe, storage)
    first = cells.train_cell(recipe, inputs, storage)
    assert cells.train_cell(recipe, inputs, storage) == replace(first, bundle=ANY)
    shutil.rmtree(storage.fetch(first.uri))
    again = cells.train_cell(recipe, inputs, storage)
    assert again.bundle.provenance["epochs"] == 1
    assert storage.fetch(again.uri).is_dir()
