"""``mmkgc bench``: measures a recipe on a benchmark over several seeds."""

from pathlib import Path
from typing import Any

import click

from mmkgc.pipeline.cli.bench_scale import scale


class RecipeOrScale(click.Command):
    """The command, or ``mmkgc bench scale``, which measures no recipe."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """The context of the command that the first argument names."""
        if args[:1] == [scale.name]:
            return scale.make_context(f"{info_name} scale", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@click.command(cls=RecipeOrScale)
@click.argument("name", metavar="RECIPE")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1), help="Seeds 0, 1, … of the training.")
@click.option("--dataset", help="Folder of the dataset (default: the recipe's).")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Seeds trained at the same time.")
@click.option("--ensemble", is_flag=True, help="Also rank the models of all seeds together.")
@click.option("--rules", is_flag=True, help="Also rank the models of all seeds together with mined rules.")
@click.option("--development", is_flag=True, help="Do not rank test: to compare recipes before one is chosen.")
@click.option(
    "--rows",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the rows, one file a recipe (default: benchmarks in $MMKGC_HOME).",
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a recipe value.")
def bench(
    name: str,
    seeds: int,
    dataset: str | None,
    workers: int,
    ensemble: bool,
    rules: bool,
    development: bool,
    rows: Path | None,
    settings: tuple[str, ...],
) -> None:
    """Train RECIPE with several seeds and rank test once each: mean and deviation, and one line of JSON a seed.

    The epoch is chosen on the development split; no test triple is used before, not even in a filter. Run again after
    an interruption, it continues; seeds that were measured with the same recipe, data and code are not measured again.

    \b
      mmkgc bench db15k-best --seeds 3
      mmkgc bench scale                 no recipe: what graphs of 10,000 to 1,000,000 entities cost
      mmkgc bench mkg-y-fast --dataset path/to/MKG-Y --development --set train.model.dimension=200
    """
    from mmkgc.components.runtime.in_use import in_use
    from mmkgc.components.runtime.processes import supervised
    from mmkgc.components.runtime.settings import Settings
    from mmkgc.pipeline import bench as library
    from mmkgc.pipeline import config

    changes = [f"dataset={dataset}"] if dataset else []
    recipes = [config.load(name, [*changes, *settings, f"train.seed={seed}"]) for seed in range(seeds)]
    folder = rows or Settings.from_env().home / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    file, measured = folder / f"{recipes[0].name}.jsonl", []
    with supervised(), in_use():
        for row in library.bench(recipes, file, workers, test=not development):
            measured.append(row)
            click.echo(_line(row))
        if len(measured) > 1:
            click.echo(_summary(measured))
        if ensemble and len(measured) > 1:
            click.echo(_line(library.ensemble(recipes, measured, file)))
        if rules:
            click.echo(_line(library.ensemble(recipes, measured, file, rules=True)))
    click.echo(f"rows: {file}")


def _line(row: dict[str, Any]) -> str:
    """One seed: metrics in percent."""
    test = (
        f"; test MRR {_percent(row['test']['both'])}, OpenKE protocol {_percent(row['openke'])}" if _ranked(row) else ""
    )
    epochs = f"{row['epochs']['best']} of {row['epochs']['run']} epochs in {row['seconds']:.0f} s"
    seed = row["seed"]
    seeds = f"ensemble of {len(seed)}" if isinstance(seed, list) else f"seed {seed}"
    seeds += " with rules" if "rules" in row else ""
    return f"{row['bench']}, {seeds}: dev MRR {_percent(row['dev'])}{test}; {epochs}"


def _summary(rows: list[dict[str, Any]]) -> str:
    from statistics import mean, stdev

    parts = {"dev": [row["dev"] for row in rows]}
    if all(map(_ranked, rows)):
        parts["test"] = [row["test"]["both"] for row in rows]
    shown = []
    for split, metrics in parts.items():
        values = [100 * metric["mrr"] for metric in metrics]
        shown.append(f"{split} MRR {mean(values):.2f} ± {stdev(values):.2f}")
    return f"{len(rows)} seeds: {', '.join(shown)}"


def _ranked(row: dict[str, Any]) -> bool:
    return "test" in row


def _percent(metrics: dict[str, float]) -> str:
    return "–" if metrics["mrr"] is None else f"{100 * metrics['mrr']:.2f}"
