"""``mmkgc bench scale``: what graphs of growing size cost."""

from pathlib import Path

import click

from mmkgc.components.runtime.command import debug_option

DEFAULT = (10_000, 100_000, 1_000_000)


@click.command("scale", params=[debug_option()])
@click.option(
    "--entities", "sizes", multiple=True, type=click.IntRange(1000), default=DEFAULT, show_default=True,
    help="Entities of a graph; may be given several times.",
)  # fmt: skip
@click.option("--degree", default=10, show_default=True, type=click.IntRange(1), help="Triples per entity.")
@click.option("--steps", default=50, show_default=True, type=click.IntRange(1), help="Training steps timed, at most.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of scale.jsonl and scale.svg (default: benchmarks in $MMKGC_HOME).",
)
def scale(sizes: tuple[int, ...], degree: int, steps: int, out: Path | None) -> None:
    """Measure synthetic graphs of growing size: ingest, training, ranking, serving; a table with slopes, and a figure.

    A million entities take 7 GB of disk in $MMKGC_SCRATCH, which are freed at the end. Run again after an interruption,
    it continues with the sizes that were not measured.
    """
    from tempfile import TemporaryDirectory

    from mmkgc.components.runtime.processes import supervised
    from mmkgc.components.runtime.settings import Settings
    from mmkgc.pipeline import scale as library

    home = Settings.from_env()
    folder = out or home.home / "benchmarks"
    home.scratch.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [library.Size(size, size * degree, steps) for size in sorted(set(sizes))]
    rows = []
    with supervised(), TemporaryDirectory(dir=home.scratch) as scratch:
        for row in library.measure(wanted, folder / "scale.jsonl", Path(scratch)):
            rows.append(row)
            click.echo(_line(row))
    if len(rows) > 1:
        click.echo(", ".join(f"{name} {slope:.2f}" for name, slope in library.slopes(rows).items()) + " (slopes)")
    library.draw(rows, folder / "scale.svg")
    click.echo(f"rows: {folder / 'scale.jsonl'}, figure: {folder / 'scale.svg'}")


def _line(row: dict) -> str:
    from mmkgc.pipeline.scale import metrics

    found, ingest, train = metrics(row), row["ingest"], row["train"]
    parts = [
        f"ingest {found['ingest']:.1f} s, {ingest['peak'] - ingest['begun']:.0f} MB ({ingest['stored']:.0f} MB stored)",
        f"step {found['step']:.3f} s, epoch {found['epoch']:.0f} s",
        f"training {found['peak']:.0f} MB ({train['estimated']:.0f} estimated)",
        f"ranking {1 / found['query']:.0f} queries/s, served in {1000 * found['p50']:.1f} ms",
    ]
    return f"{row['entities']:,} entities, {row['triples']:,} triples: {'; '.join(parts)} (processor time)"
