"""``mmkgc bench``: measures a recipe on a benchmark over several seeds."""

from pathlib import Path
from typing import Any

import click

from mmkgc.components.runtime.nouns import counted
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
@click.argument("names", metavar="RECIPE...", nargs=-1, required=True)
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1), help="Seeds 0, 1, … of the training.")
@click.option("--dataset", help="Folder of the dataset (default: the recipe's).")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Seeds trained at the same time.")
@click.option("--ensemble", is_flag=True, help="Also rank the models of all seeds and recipes together.")
@click.option("--rules", is_flag=True, help="Also rank all models together with mined rules.")
@click.option(
    "--rule-weight",
    type=click.FloatRange(0, min_open=True),
    help="Weight of the rules (default: the development split chooses it).",
)
@click.option("--development", is_flag=True, help="Do not rank test: to compare recipes before one is chosen.")
@click.option(
    "--rows",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the rows, one file a recipe (default: benchmarks in $MMKGC_HOME).",
)
@click.option(
    "--shares",
    metavar="SHARE,…",
    callback=lambda _context, _option, text: _shares(text) if text else None,
    help="Shares of the second and each further RECIPE in the mean (default: the development split chooses).",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="[RECIPE:]KEY=VALUE",
    help="Change a value of all recipes, or of one.",
)
def bench(
    names: tuple[str, ...],
    seeds: int,
    dataset: str | None,
    workers: int,
    ensemble: bool,
    rules: bool,
    rule_weight: float | None,
    development: bool,
    rows: Path | None,
    shares: tuple[float, ...] | None,
    settings: tuple[str, ...],
) -> None:
    """Train each RECIPE with several seeds and rank test once each: mean and deviation, and one line of JSON a seed.

    The epoch is chosen on the development split; no test triple is used before, not even in a filter. Run again after
    an interruption, it continues; seeds that were measured with the same recipe, data and code are not measured again.

    \b
      mmkgc bench db15k-best --seeds 3
      mmkgc bench mkg-y-best mkg-y-adamf-fast --ensemble   two families of models, also ranked as one
      mmkgc bench scale                 no recipe: what graphs of 10,000 to 1,000,000 entities cost
      mmkgc bench mkg-y-fast --dataset path/to/MKG-Y --development --set train.model.dimension=200
    """
    from mmkgc.components.runtime.in_use import in_use
    from mmkgc.components.runtime.processes import supervised
    from mmkgc.components.runtime.settings import Settings
    from mmkgc.pipeline import bench as library
    from mmkgc.pipeline import config

    changes = [f"dataset={dataset}"] if dataset else []
    groups = [
        [
            config.load(name, [*changes, *_settings_of(name, names, settings), f"train.seed={seed}"])
            for seed in range(seeds)
        ]
        for name in names
    ]
    recipes = [recipe for group in groups for recipe in group]
    given = library.Weights(shares, rule_weight)
    if ensemble or rules:
        library.must_be_alike(recipes)
        library.must_be_weighed(recipes, rules, given)
    folder = rows or Settings.from_env().home / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    measured: list[dict[str, Any]] = []
    with supervised(), in_use():
        for group in groups:
            found = []
            for row in library.bench(group, folder / f"{group[0].name}.jsonl", workers, test=not development):
                found.append(row)
                click.echo(_line(row))
            if len(found) > 1:
                click.echo(_summary(found))
            measured += found
        together = folder / f"{'+'.join(dict.fromkeys(recipe.name for recipe in recipes))}.jsonl"
        kinds: list[library.Kind] = ["ensemble"] if ensemble and len(measured) > 1 else []
        for row in library.ensembles(recipes, measured, together, [*kinds, "rules"] if rules else kinds, given):
            click.echo(_line(row))
    click.echo(f"rows: {folder}")


def _settings_of(name: str, names: tuple[str, ...], settings: tuple[str, ...]) -> list[str]:
    """The settings of one recipe: those that name it, and those that name none."""
    general = [setting for setting in settings if not setting.startswith(tuple(f"{other}:" for other in names))]
    return [*general, *(setting.removeprefix(f"{name}:") for setting in settings if setting.startswith(f"{name}:"))]


def _shares(text: str) -> tuple[float, ...]:
    try:
        shares = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"'{text}' is no list of numbers such as 0.2,0.1") from None
    if not all(0 < share < 1 for share in shares):
        raise click.BadParameter("shares are between 0 and 1")
    return shares


def _line(row: dict[str, Any]) -> str:
    """One seed: metrics in percent."""
    from mmkgc.pipeline.bench import of_each

    test = (
        f"; test MRR {_percent(row['test']['both'])}, OpenKE protocol {_percent(row['openke'])}" if _ranked(row) else ""
    )
    epochs = " + ".join(f"{epochs['best']} of {epochs['run']}" for epochs in of_each(row["epochs"]))
    seed = row["seed"]
    seeds = f"ensemble of {len(seed)}" if isinstance(seed, list) else f"seed {seed}"
    if "shares" in row:
        seeds += f", shares {' + '.join(f'{share:g}' for share in row['shares']['of'])}"
    seeds += f" with rules × {row['rules']['weight']:g}" if "rules" in row else ""
    return f"{row['bench']}, {seeds}: dev MRR {_percent(row['dev'])}{test}; {epochs} epochs in {row['seconds']:.0f} s"


def _summary(rows: list[dict[str, Any]]) -> str:
    from statistics import mean, stdev

    parts = {} if rows[0]["dev"]["mrr"] is None else {"dev": [row["dev"] for row in rows]}
    if all(map(_ranked, rows)):
        parts["test"] = [row["test"]["both"] for row in rows]
    shown = []
    for split, metrics in parts.items():
        values = [100 * metric["mrr"] for metric in metrics]
        shown.append(f"{split} MRR {mean(values):.2f} ± {stdev(values):.2f}")
    return f"{counted(len(rows), 'seed')}: {', '.join(shown)}"


def _ranked(row: dict[str, Any]) -> bool:
    return "test" in row


def _percent(metrics: dict[str, float]) -> str:
    return "–" if metrics["mrr"] is None else f"{100 * metrics['mrr']:.2f}"
