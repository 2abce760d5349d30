"""``mmkgc compare``: differences between runs, with confidence intervals."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmkgc.pipeline.cli.table import aligned

if TYPE_CHECKING:
    from mmkgc.components.evaluate.compare import Bootstrap, Delta, Judged
    from mmkgc.components.evaluate.report import Block

SLICES = ("relation", "category", "answer degree", "answer modalities", "unseen")


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN…")
@click.option("--by", type=click.Choice(SLICES), help="Also show the change of MRR in each slice of this kind.")
@click.option("--confidence", default=0.95, show_default=True, type=click.FloatRange(0.5, 1, True, True))
@click.option("--resamples", default=2000, show_default=True, type=click.IntRange(100))
@click.option(
    "--report", type=click.Path(file_okay=False, path_type=Path), help="Write report.md and report.html there."
)
def compare(runs: tuple[str, ...], by: str | None, confidence: float, resamples: int, report: Path | None) -> None:
    """Compare every RUN with the first, query by query, with paired-bootstrap intervals over the test triples.

    A RUN is an MLflow run id (its beginning is enough) of a pipeline, or the folder of an evaluation.

    \b
      mmkgc compare 3f2a91 b7c04d
      mmkgc compare 3f2a91 b7c04d --by category --report comparison
    """
    from tempfile import TemporaryDirectory

    from mmkgc.components.evaluate.compare import Bootstrap, Judged, check_same_queries
    from mmkgc.components.evaluate.tracked import evaluation_folder
    from mmkgc.components.runtime.errors import UserError

    if len(runs) < 2:
        raise UserError("mmkgc compare", "a comparison needs two runs", "give two or more")
    with TemporaryDirectory() as scratch:
        judged = []
        for index, run in enumerate(runs):
            target = Path(scratch) / str(index)
            target.mkdir()
            judged.append(Judged.read(*evaluation_folder(run, target)))
    check_same_queries(judged)
    draws = Bootstrap(resamples, confidence)
    for other in judged[1:]:
        _print(_tables(judged[0], other, by, draws), judged[0], other)
    if report:
        _write(report, judged, by, draws)
        click.echo(f"written: {report / 'report.html'}")


def _tables(before: "Judged", after: "Judged", by: str | None, draws: "Bootstrap") -> list[tuple[str, list["Delta"]]]:
    """Titles and rows of the tables of one comparison."""
    from mmkgc.components.evaluate.compare import deltas, slice_deltas

    sliced = [(f"MRR by {by}", slice_deltas(before, after, by, draws))] if by else []
    return [("all queries", deltas(before, after, draws)), *sliced]


def _print(tables: list[tuple[str, list["Delta"]]], before: "Judged", after: "Judged") -> None:
    click.secho(f"\n{before.label} → {after.label}", bold=True)
    for _, rows in tables:
        lines = aligned([HEADER, *map(_cells, rows)])
        for line, colour in zip(lines, [None, *map(_colour, rows)], strict=True):
            click.secho(line, fg=colour)


HEADER = ("", "queries", "before", "after", "change", "interval")


def _cells(delta: "Delta") -> tuple[str, ...]:
    from mmkgc.components.evaluate.summary import title

    digits = 1 if delta.metric == "mr" else 4
    before, after, low, high = (f"{value:.{digits}f}" for value in (delta.before, delta.after, *delta.bounds))
    change = f"{delta.after - delta.before:+.{digits}f}"
    return f"{title(delta.metric)}, {delta.what}", str(delta.queries), before, after, change, f"[{low}, {high}]"


def _colour(delta: "Delta") -> str | None:
    """Green for a significant gain, red for a significant loss; a mean rank improves when it falls."""
    if not delta.is_sure:
        return None
    rises = delta.bounds.low > 0
    return "green" if rises != (delta.metric == "mr") else "red"


def _write(folder: Path, runs: Sequence["Judged"], by: str | None, draws: "Bootstrap") -> None:
    from mmkgc.components.evaluate import figures
    from mmkgc.components.evaluate.report import Figure, Heading, Paragraph, Table, html, markdown
    from mmkgc.components.runtime.files import write_text

    intro = f"Change from the first run; {draws.confidence:.0%} paired-bootstrap intervals over test triples."
    blocks: list[Block] = [Paragraph(intro)]
    for index, other in enumerate(runs[1:], start=1):
        blocks.append(Heading(f"{runs[0].label} → {other.label}"))
        for what, rows in _tables(runs[0], other, by, draws):
            blocks.append(Table(HEADER, [_cells(row) for row in rows]))
            drawn = {row.what: (row.after - row.before, *row.bounds) for row in rows if row.metric == "mrr"}
            figure = figures.change_bars(drawn, f"{what}: {runs[0].label} → {other.label}")
            path = figures.save(figure, folder / f"change_{index}_{what.replace(' ', '_')}.png")
            blocks.append(Figure(path, f"Change of MRR, {what}"))
    title = "Comparison of " + ", ".join(run.label for run in runs)
    write_text(folder / "report.md", markdown(title, blocks, folder))
    write_text(folder / "report.html", html(title, blocks))
