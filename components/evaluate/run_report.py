"""The report of a whole run: its own facts, then the report of its evaluation with all figures."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mmkgc.components.evaluate.report import REPORT, Block, Figure, Heading, Paragraph, Table, from_json
from mmkgc.components.evaluate.tracked import CURVES, Evaluated, begun, evaluation, steps_of
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.files import read_json

if TYPE_CHECKING:
    from mlflow.entities import Run


def run_report(run: str, scratch: Path) -> tuple[str, list[Block]]:
    """Title and blocks of the report of ``run``, an MLflow run or the folder of an evaluation.

    Figures are copied to ``scratch``. Raises UserError if there is no such run, or an earlier version made it.
    """
    found = evaluation(run, scratch, (REPORT, "figures", "ranks.parquet"))
    if not (found.folder / REPORT).is_file():
        mend = "its page is report.html in the same place; run the recipe again for a page with all facts"
        raise UserError(f"run {run}", "an earlier version of mmkgc evaluated it", mend)
    report = read_json(found.folder / REPORT)
    blocks = from_json(report["blocks"], found.folder)
    if found.run is None:
        return report["title"], blocks
    head = [*_facts(found.run), *_steps(found.run), *blocks, *_curves(found), *_parameters(found)]
    return f"{_experiment(found.run)}: {found.label}", head


def _facts(run: "Run") -> Iterator[Block]:
    tags = run.data.tags
    if note := tags.get("mlflow.note.content"):
        yield Paragraph(note)
    version, gate = tags.get("model"), tags.get("gate")
    promoted = "promoted" if tags.get("promoted") == "True" else "not promoted"
    rows = {
        "run": run.info.run_id,
        "began": begun(run),
        "ended as": run.info.status.lower(),
        "took": _duration(run),
        "dataset": tags.get("mmkgc.dataset"),
        "registered as": version and f"{version}, {promoted}",
        "promotion gate": gate,
        "digest of the code": tags.get("mmkgc.code"),
    }
    yield Heading("The run")
    yield Table(["", ""], [[name, value] for name, value in rows.items() if value])


def _steps(run: "Run") -> Iterator[Block]:
    rows = [[step.info.run_name, _duration(step)] for step in steps_of(run) if "mmkgc.step" in step.data.tags]
    if rows:
        yield Table(["step", "time"], rows)
        yield Paragraph("Steps that are not listed came from the cache.")


def _curves(found: Evaluated) -> Iterator[Block]:
    files = [found.folder / "figures" / f"training_{metric}.png" for metric in CURVES]
    drawn = [(file, name) for file, name in zip(files, CURVES.values(), strict=True) if file.is_file()]
    if drawn:
        yield Heading("Training")
    for file, name in drawn:
        yield Figure(file, f"{name[0].upper()}{name[1:]} by epoch")


def _parameters(found: Evaluated) -> Iterator[Block]:
    if found.params:
        yield Heading("Parameters")
        yield Table(["parameter", "value"], [[name, value] for name, value in sorted(found.params.items())])


def _duration(run: "Run") -> str:
    if not run.info.end_time:
        return ""
    seconds = (run.info.end_time - run.info.start_time) / 1000
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"


def _experiment(run: "Run") -> str:
    from mmkgc.components.runtime import tracking

    return tracking.client().get_experiment(run.info.experiment_id).name
