"""``mmkgc report``: one page of a run."""

from pathlib import Path
from tempfile import TemporaryDirectory

import click


@click.command()
@click.argument("run", required=False)
@click.option("--to", type=click.Path(dir_okay=False, path_type=Path), help="File to write [default: report-RUN.html].")
def report(run: str | None, to: Path | None) -> None:
    """Write everything about RUN on one HTML page with its figures inside, to be mailed or printed.

    RUN is an MLflow run id (its beginning is enough) of a pipeline, or the folder of an evaluation; by default the
    newest run. The page names data, protocol, model, training, seed, code, times, registered version, metrics by slice
    with intervals, answers, probabilities and curves.
    """
    from mmkgc.components.evaluate.report import html
    from mmkgc.components.evaluate.run_report import run_report
    from mmkgc.components.evaluate.tracked import evaluated_runs
    from mmkgc.components.runtime.errors import UserError
    from mmkgc.components.runtime.files import write_text

    if run is None:
        newest = evaluated_runs(1)
        if not newest:
            raise UserError("mmkgc report", "no run was evaluated yet", "run `mmkgc run countries` first")
        run = newest[0].info.run_id
    with TemporaryDirectory() as scratch:
        title, blocks = run_report(run, Path(scratch))
        page = to or Path(f"report-{Path(run).resolve().name[:8]}.html")
        write_text(page, html(title, blocks))
    click.echo(f"{title}\nwritten: {page}")
