"""``mmkgc study``: a grid of trainings that ends with a table or a figure."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmkgc.pipeline.cli.table import aligned

if TYPE_CHECKING:
    from mmkgc.components.evaluate.report import Table


@click.command()
@click.argument("name", metavar="STUDY")
@click.option("--dataset", help="countries, mkg-y, mkg-w, db15k, or a folder (default: the study's).")
@click.option("--seeds", type=click.IntRange(1), help="Seeds 0, 1, … of each cell (default: the study's).")
@click.option("--only", metavar="SYSTEM,…", help="Some of the study's systems; finished cells of the others are kept.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Cells trained at the same time.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of cells, table and figures (default: studies in $MMKGC_HOME).",
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a recipe value of all cells.")
def study(
    name: str,
    dataset: str | None,
    seeds: int | None,
    only: str | None,
    workers: int,
    out: Path | None,
    settings: tuple[str, ...],
) -> None:
    """Train the grid of STUDY, systems × values × seeds, and show its table; figures are written beside it.

    STUDY is a bundled study (`mmkgc list studies`) or a YAML file of your own. The epoch of each cell is chosen on the
    development split. Run again after an interruption, it continues; finished cells are kept. All cells are nested runs
    of one run in MLflow.

    \b
      mmkgc study mans-beta --workers 2
      mmkgc study adamf-missing --dataset mkg-y --seeds 1
      mmkgc study systems --only mose,rsme
      mmkgc study my-question.yaml --out results
    """
    from mmkgc.components.runtime.environment import environment
    from mmkgc.components.runtime.processes import supervised
    from mmkgc.components.runtime.settings import Settings
    from mmkgc.components.runtime.tracking import start_run
    from mmkgc.pipeline.studies import config, results, tables
    from mmkgc.pipeline.studies.run import popularity, run

    called, asked = config.load(name)
    if only:
        asked = asked.restricted(only.split(","))
    data = dataset or asked.dataset
    asked = asked.on(data)
    cells = list(config.cells(asked, data, seeds or asked.seeds, settings))
    label = f"{called}-{config.name_on(data)}"
    folder = (out or Settings.from_env().home / "studies") / label
    folder.mkdir(parents=True, exist_ok=True)
    alone = any(measure.startswith("memory/") for measure in asked.measure)
    with (
        supervised(),
        start_run(f"study-{called}", label) as parent,
        environment({"MLFLOW_RUN_ID": parent.id}),  # the trainings' runs find their parent there
    ):
        parent.log_params({"study": called, "dataset": data, "cells": len(cells)})
        rows = run(cells, folder / "cells.jsonl", asked.ranks_test, workers, alone)
        graph = rows[0]["graph"]
        baseline = popularity(graph, cells[0].recipe) if asked.ranks_test else {}
        results.write(called, asked, data, rows, graph, baseline, folder)
        parent.log_artifact(folder)
    _print(tables.table(asked, rows, baseline))
    for row in rows:
        if "problem" in row:
            click.secho(f"{row['system']} {row['value']} seed {row['seed']}: {row['problem']}", fg="red", err=True)
    click.echo(f"\nwritten: {folder / 'study.html'}")


def _print(table: "Table") -> None:
    for number, line in enumerate(aligned([table.header, *table.rows])):
        click.secho(line, bold=not number)
