"""``mmkgc search``: tunes hyper-parameters without the rest of the pipeline."""

import click

from mmkgc.pipeline.cli.program import program
from mmkgc.pipeline.cli.recipe import recipe_argument


@click.command()
@recipe_argument
@click.option("--trials", type=click.IntRange(1), help="Trials of the study (default: the recipe's).")
@click.option(
    "--workers", type=click.IntRange(1), help="Processes that train at the same time (default: the recipe's)."
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a recipe value.")
def search(recipe: str, trials: int | None, workers: int | None, settings: tuple[str, ...]) -> None:
    """Search the space of RECIPE for the hyper-parameters with the best development MRR.

    Run again after an interruption, or with more trials, it resumes the study. Every trial is a run in MLflow.

    \b
      mmkgc search countries --trials 40 --workers 4
    """
    from mmkgc.components.extract.extract import extract
    from mmkgc.components.ingest.ingest import ingest
    from mmkgc.components.runtime.environment import environment
    from mmkgc.components.runtime.errors import UserError
    from mmkgc.components.runtime.files import read_json
    from mmkgc.components.runtime.processes import supervised
    from mmkgc.components.runtime.quoting import json_line, shell
    from mmkgc.components.runtime.tracking import start_run
    from mmkgc.components.search.search import search as run_study
    from mmkgc.feature_store.opening import open_storage
    from mmkgc.pipeline import config

    asked = {"trials": trials, "workers": workers}
    changes = [f"search.{key}={value}" for key, value in asked.items() if value]
    loaded = config.load(recipe, [*settings, *changes])
    if not loaded.search.trials:
        raise UserError(recipe, "the recipe has no search", "give it `search: {trials: 40, space: {…}}`")
    storage = open_storage()
    with (
        supervised(),
        start_run(loaded.name, f"search {loaded.train.label}") as run,
        environment({"MLFLOW_RUN_ID": run.id}),  # the steps' runs find their parent there
    ):
        graph = ingest(loaded.dataset, loaded.ingest, storage)
        features: dict[str, str] = {
            m: extract(graph.uri, m, loaded.extract, storage).uri for m in loaded.extract.modalities()
        }
        found = run_study(graph.uri, features, loaded.train, loaded.search, storage)
    best = read_json(storage.fetch(found.uri) / "best.json")
    trials = sum(trial["state"] != "lost" for trial in best["trials"])
    click.echo(f"trial {best['trial']} is the best of {trials}: development MRR {best['dev_mrr']:.4f}")
    chosen = [f"train.{key}={json_line(value)}" for key, value in best["overrides"].items()]
    words = [word for change in ["search.trials=0", *chosen] for word in ("--set", change)]
    click.echo(f"train with it:  {shell(program(), 'run', recipe, *words)}")
