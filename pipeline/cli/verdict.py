"""What ``mmkgc run`` says last: a verdict on the model in a sentence, and how to go on."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmkgc.components.runtime.nouns import counted
from mmkgc.components.runtime.quoting import printable, shell
from mmkgc.pipeline.cli.program import program

FEW_QUERIES = 200
"""Fewer test queries, two per triple, are called few: an interval of the MRR is then about 0.1 wide or more."""


def verdict(metrics: Mapping[str, Any], registration: Mapping[str, Any]) -> str:
    """Whether the model is better than the baseline on the test split.

    The gate's paired interval decides where it compared the two; otherwise the interval of the model's own MRR.
    """
    low, high = metrics["intervals"]["mrr"]
    baseline, queries = metrics["baseline"], metrics["queries"]
    bound, model = baseline["both"]["mrr"], metrics["metrics"][metrics["protocol"]["ties"]]["both"]["mrr"]
    least, most = low - bound, high - bound
    if registration.get("champion") == baseline["name"] and registration.get("interval"):
        least, most = registration["interval"]
    if least > 0:
        found = f"better than {baseline['name']}"
    elif most < 0:
        found = f"worse than {baseline['name']}: too short a training, or a fault in the recipe or the data"
    else:
        found = f"not distinguishable from {baseline['name']}: a longer training, more data or another recipe may help"
    few = ", a small test split" if queries < FEW_QUERIES else ""
    figures = f"test MRR {model:.3f} [{low:.3f}, {high:.3f}] against {bound:.3f}, {counted(queries, 'query')}{few}"
    return f"verdict: {found} ({figures})"


def next_commands(model: str, run_id: str, report: Path, asked: Mapping[str, Any] | None) -> Iterator[str]:
    """What can be done with the model, as commands that work in this terminal.

    ``asked``: a query of ``completions.json`` as an example, if there is one.
    """
    mmkgc, name = program(), ["--name", model]
    yield f"report       {report}"
    yield f"MLflow run   {run_id}"
    yield f"look at it   {shell(mmkgc, 'ui')}"
    if asked:
        yield printable(f"ask it       {shell(mmkgc, 'complete', *name, asked['head'], asked['relation'])}")
    yield f"serve it     {shell(mmkgc, 'serve', *name)}"
