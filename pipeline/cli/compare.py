"""``mmkgc compare``: differences between runs, with confidence intervals."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from mmkgc.components.runtime.errors import printable
from mmkgc.components.runtime.nouns import counted
from mmkgc.pipeline.cli.table import aligned

if TYPE_CHECKING:
    from mmkgc.components.evaluate.compare import Bootstrap, Delta, Judged
    from mmkgc.components.evaluate.report import Block
    from mmkgc.components.evaluate.tracked import Evaluated

SLICES = ("relation", "category", "answer degree", "answer modalities", "unseen")
RUNS = ("run", "dataset", "began", "test MRR")
HEADER = ("", "queries", "before", "after", "change", "interval")
FALLING = ("mr",)  # metrics that improve when they fall


@click.command()
@click.argument("runs", nargs=-1, metavar="RUN RUN…")
@click.option("--by", type=click.Choice(SLICES), help="Also show the change of MRR in each slice of this kind.")
@click.option("--confidence", default=0.95, show_default=True, type=click.FloatRange(0.5, 1, True, True))
@click.option("--resamples", default=2000, show_default=True, type=click.IntRange(100))
@click.option(
    "--report", type=click.Path(file_okay=False, path_type=Path), help="Write report.md and report.html there."
)
def compare(runs: tuple[str, ...], by: str | None, confidence: float, resamples: int, report: Path | None) -> None:
    """Compare every RUN with the first, query by query, with paired-bootstrap intervals over the test triples.

    A RUN is an MLflow run id (its beginning is enough) of a pipeline, or the folder of an evaluation. Without a RUN,
    the newest runs are listed with their test MRR, and runs that differ in their seed alone are summarised.

    \b
      mmkgc compare                       which runs are there?
      mmkgc compare 3f2a91 b7c04d
      mmkgc compare 3f2a91 b7c04d --by category --report comparison
    """
    from tempfile import TemporaryDirectory

    from mmkgc.components.evaluate.compare import Bootstrap, Judged, check_same_queries
    from mmkgc.components.evaluate.tracked import evaluation
    from mmkgc.components.runtime.errors import UserError
    from mmkgc.pipeline.cli import run_list

    if not runs:
        for line in run_list.lines():
            click.echo(line)
        return
    if len(runs) < 2:
        raise UserError(
            "mmkgc compare", "a comparison needs two runs", "give two or more; without any, they are listed"
        )
    with TemporaryDirectory() as scratch:
        evaluated, judged = [], []
        for index, run in enumerate(runs):
            target = Path(scratch) / str(index)
            target.mkdir()
            evaluated.append(evaluation(run, target))
            judged.append(Judged.read(evaluated[-1].label, evaluated[-1].folder))
    check_same_queries(judged)
    draws = Bootstrap(resamples, confidence)
    told = _about(evaluated, judged)
    compared = [_tables(judged[0], other, by, draws) for other in judged[1:]]
    click.echo("\n".join(map(printable, told.lines())) + "\n")
    for other, tables in zip(judged[1:], compared, strict=True):
        click.secho(printable(_verdict(judged[0], other, tables)), bold=True, fg=_colour(_main(tables)))
    for other, tables in zip(judged[1:], compared, strict=True):
        _print(tables, judged[0], other)
    if report:
        _write(report, told, judged, compared, draws)
        click.echo(f"written: {report / 'report.html'}")


class About(NamedTuple):
    """A row of ``RUNS`` on each run, a sentence on their parameters, and a row on each parameter that differs."""

    runs: Sequence[tuple[str, ...]]
    parameters: str
    changed: Sequence[tuple[str, ...]]

    def lines(self) -> list[str]:
        """For a terminal."""
        changed = [f"  {name}: {' → '.join(values)}" for name, *values in self.changed]
        return [*aligned([RUNS, *self.runs]), self.parameters, *changed]


def _about(evaluated: Sequence["Evaluated"], judged: Sequence["Judged"]) -> About:
    """What the runs are, and the parameters in which they differ."""
    from mmkgc.components.evaluate.compare import overall

    rows = [
        (run.label, run.run.data.tags.get("mmkgc.dataset", "") if run.run else "", run.begun, f"{overall(of):.4f}")
        for run, of in zip(evaluated, judged, strict=True)
    ]
    params = [run.params for run in evaluated]
    if not all(params):
        return About(rows, "parameters: unknown, since a folder was given instead of a run", [])
    names = sorted({name for given in params for name in given})
    changed = [
        (name, *(given.get(name, "(none)") for given in params))
        for name in names
        if len({given.get(name) for given in params}) > 1
    ]
    return About(rows, "parameters that differ:" if changed else "parameters: all the same", changed)


def _verdict(before: "Judged", after: "Judged", tables: list[tuple[str, list["Delta"]]]) -> str:
    """One sentence: whether the other run is better than the first, by the interval of the change of its MRR."""
    delta = _main(tables)
    change, (low, high) = delta.after - delta.before, delta.bounds
    what = "not distinguishable from"
    if delta.is_sure:
        what = "better than" if low > 0 else "worse than"
    figures = f"MRR {change:+.4f} [{low:+.4f}, {high:+.4f}], {counted(delta.queries, 'query')}"
    return f"verdict: {after.label} is {what} {before.label} ({figures})"


def _main(tables: list[tuple[str, list["Delta"]]]) -> "Delta":
    """The change of the MRR over all queries."""
    return next(delta for delta in tables[0][1] if (delta.metric, delta.what) == ("mrr", "both"))


def _tables(before: "Judged", after: "Judged", by: str | None, draws: "Bootstrap") -> list[tuple[str, list["Delta"]]]:
    """Titles and rows of the tables of one comparison."""
    from mmkgc.components.evaluate.compare import deltas, slice_deltas

    sliced = [(f"MRR by {by}", slice_deltas(before, after, by, draws))] if by else []
    return [("all queries", deltas(before, after, draws)), *sliced]


def _print(tables: list[tuple[str, list["Delta"]]], before: "Judged", after: "Judged") -> None:
    click.secho(f"\n{printable(before.label)} → {printable(after.label)}", bold=True)
    for _, rows in tables:
        lines = aligned([HEADER, *map(_cells, rows)])
        for line, colour in zip(lines, [None, *map(_colour, rows)], strict=True):
            click.secho(printable(line), fg=colour)
    click.echo("↓: lower is better")


def _cells(delta: "Delta") -> tuple[str, ...]:
    from mmkgc.components.evaluate.summary import title

    digits = 1 if delta.metric == "mr" else 4
    before, after, low, high = (f"{value:.{digits}f}" for value in (delta.before, delta.after, *delta.bounds))
    change = f"{delta.after - delta.before:+.{digits}f}"
    name = title(delta.metric) + (" ↓" if delta.metric in FALLING else "")
    return f"{name}, {delta.what}", str(delta.queries), before, after, change, f"[{low}, {high}]"


def _colour(delta: "Delta") -> str | None:
    """Green for a significant gain, red for a significant loss; a mean rank improves when it falls."""
    if not delta.is_sure:
        return None
    rises = delta.bounds.low > 0
    return "green" if rises != (delta.metric in FALLING) else "red"


def _write(
    folder: Path,
    told: About,
    runs: Sequence["Judged"],
    compared: Sequence[list[tuple[str, list["Delta"]]]],
    draws: "Bootstrap",
) -> None:
    from mmkgc.components.evaluate.report import html, markdown
    from mmkgc.components.runtime.files import write_text

    blocks = list(_blocks(folder, told, runs, compared, draws))
    title = "Comparison of " + " and ".join(run.label for run in runs)
    write_text(folder / "report.md", markdown(title, blocks, folder))
    write_text(folder / "report.html", html(title, blocks))


def _blocks(
    folder: Path,
    told: About,
    runs: Sequence["Judged"],
    compared: Sequence[list[tuple[str, list["Delta"]]]],
    draws: "Bootstrap",
) -> "Iterator[Block]":
    from mmkgc.components.evaluate import figures
    from mmkgc.components.evaluate.report import Figure, Heading, Paragraph, Table

    for other, tables in zip(runs[1:], compared, strict=True):
        yield Paragraph(_verdict(runs[0], other, tables))
    yield Table(RUNS, told.runs)
    yield Paragraph(told.parameters)
    if told.changed:
        yield Table(["parameter", *(run.label for run in runs)], told.changed)
    yield Paragraph(
        f"Change from the first run; {draws.confidence:.0%} paired-bootstrap intervals over test triples. "
        "↓: lower is better."
    )
    for index, (other, tables) in enumerate(zip(runs[1:], compared, strict=True), start=1):
        yield Heading(f"{runs[0].label} → {other.label}")
        for what, rows in tables:
            yield Table(HEADER, [_cells(row) for row in rows])
            drawn = {row.what: (row.after - row.before, *row.bounds) for row in rows if row.metric == "mrr"}
            figure = figures.change_bars(drawn, f"{what}: {runs[0].label} → {other.label}")
            path = figures.save(figure, folder / f"change_{index}_{what.replace(' ', '_')}.png")
            yield Figure(path, f"Change of MRR, {what}")
