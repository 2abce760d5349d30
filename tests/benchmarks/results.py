"""Writes the tables of results into docs/benchmarks.md from the rows that `mmkgc bench --rows docs/benchmarks` left.

    python -m tests.benchmarks.results

A test compares the document with what this gives, so that no figure in these tables is written by hand.
"""

import csv
import json
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from mmkgc.components.runtime.files import write_text
from mmkgc.pipeline.bench import of_each, read_rows
from tests.benchmarks.chart import Bar, bars

DOCS = Path(__file__).parents[2] / "docs"
PAGE, ROWS, PUBLISHED = DOCS / "benchmarks.md", DOCS / "benchmarks", DOCS / "benchmarks" / "published.tsv"
FIGURE, SUMMARY = ROWS / "results.svg", ROWS / "summary.svg"
BEGIN, END = "<!-- rows of docs/benchmarks: begin -->", "<!-- rows of docs/benchmarks: end -->"
OURS = "| recipe | seeds | dev MRR | test MRR | H@1 | H@10 | OpenKE MRR | trained on | epochs | min | threads, load |"
THEIRS = "| published | test MRR | H@1 | H@10 | features | protocol |"
HELD_OUT = ("DB15K",)  # the development split is taken from the published train split, on which others train
Row = dict[str, Any]


def main() -> None:
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    write_text(PAGE, f"{before}{BEGIN}\n\n{tables()}\n{END}{after}")
    for file, drawn in ((FIGURE, figure()), (SUMMARY, figure(highest))):
        if drawn:
            write_text(file, drawn)


def tables() -> str:
    """One section a dataset: our rows, and the published figures."""
    parts = []
    for dataset, of_dataset in grouped(rows(), lambda row: row["dataset"]):
        parts.append(f"### {dataset}\n")
        parts.append(table(OURS, (ours(group) for _, group in grouped(of_dataset, kind))))
        parts.append(table(THEIRS, (theirs(row) for row in published() if row["dataset"] == dataset)))
    return "\n".join(parts)


def figure(chosen: Callable[[list[list[Row]]], list[list[Row]]] = list) -> str:
    """Test MRR of the ``chosen`` rows beside the published figures: SVG, one panel a dataset; empty without rows.

    Rows that were also trained on a published development split are left out: the published figures are not.
    """
    panels = []
    alike = [row for row in rows() if row["dataset"] in HELD_OUT or not row["refit"]]
    for dataset, of_dataset in grouped(alike, lambda row: row["dataset"]):
        found = [
            Bar(drawn_label(group[0]), mean(mrr_of(group)), stdev(mrr_of(group)) if len(group) > 1 else 0.0, ours=True)
            for group in chosen([group for _, group in grouped(of_dataset, kind)])
        ]
        panels.append(
            (dataset, found + [Bar(r["system"], float(r["mrr"])) for r in published() if r["dataset"] == dataset])
        )
    return bars(panels, "test MRR, %") if panels else ""


def highest(groups: list[list[Row]]) -> list[list[Row]]:
    """The highest of all, and the highest of single models with several seeds."""
    single = [group for group in groups if members(group[0]) == 1 and "rules" not in group[0] and len(group) > 1]
    return [max(some, key=lambda group: mean(mrr_of(group))) for some in (groups, single) if some]


def published() -> list[dict[str, str]]:
    """Figures of papers, as the file states them."""
    return list(csv.DictReader(PUBLISHED.open(encoding="utf-8"), delimiter="\t"))


def mrr_of(of_seeds: list[Row]) -> list[float]:
    """Test MRR of each seed, in percent."""
    return [100 * row["test"]["both"]["mrr"] for row in of_seeds]


def label(row: Row) -> str:
    """Recipe, shares of several, and how many models were ranked together."""
    together = f", ensemble of {members(row)}" if members(row) > 1 else ""
    shares = f" ({' + '.join(f'{share:g}' for share in row['shares']['of'])})" if "shares" in row else ""
    return row["bench"] + shares + together + (f", rules × {row['rules']['weight']:g}" if "rules" in row else "")


def drawn_label(row: Row) -> str:
    """The label of a bar, which says where a model was not trained on the tenth that selection held out."""
    return label(row) + (", trained on nine tenths" if row["dataset"] in HELD_OUT and not row["refit"] else "")


def rows() -> list[Row]:
    """Rows that ranked test, of all recipes."""
    return [row for file in sorted(ROWS.glob("*.jsonl")) for row in read_rows(file) if "test" in row]


def kind(row: Row) -> tuple[str, ...]:
    """Rows of one line of the table: one recipe, on one state of the data and of the code."""
    digests, recipes = row["digests"], of_each(row["recipe"])
    unseeded = [{**recipe, "train": {**recipe["train"], "seed": None}} for recipe in recipes]
    return (
        row["bench"],
        json.dumps(unseeded),
        digests["graph"],
        digests["code"],
        str(members(row)),
        str(row.get("rules")),
        str(row.get("shares")),
        str(row["refit"]),
    )


def members(row: Row) -> int:
    """Number of models that were ranked together."""
    return 1 if isinstance(row["seed"], int) else len(row["seed"])


def grouped(some: Iterable[Row], key: Any) -> list[tuple[Any, list[Row]]]:
    return [(value, list(group)) for value, group in groupby(sorted(some, key=key), key)]


def table(header: str, lines: Iterable[str]) -> str:
    ruler = "|" + "---|" * (header.count("|") - 1)
    return "\n".join([header, ruler, *lines]) + "\n"


def ours(of_seeds: list[Row]) -> str:
    """Mean ± deviation over seeds, in percent."""
    first = of_seeds[0]
    metrics = [
        spread([100 * row["test"]["both"][name] for row in of_seeds]) for name in ("mrr", "hits_at_1", "hits_at_10")
    ]
    epochs = " + ".join(
        "/".join(dict.fromkeys(str(each["best"]) for each in of_recipe))
        for of_recipe in zip(*(of_each(row["epochs"]) for row in of_seeds), strict=True)
    )
    hardware = first["hardware"]
    cells = [
        label(first),
        str(len(of_seeds)) if members(first) == 1 else "–",
        spread([100 * row["dev"]["mrr"] for row in of_seeds]) if first["dev"]["mrr"] is not None else "–",
        *metrics,
        spread([100 * row["openke"]["mrr"] for row in of_seeds]),
        "train + dev" if first["refit"] else "train",
        epochs,
        spread([row["seconds"] / 60 for row in of_seeds], 0),
        f"{hardware['threads']} of {hardware['cores']}, {mean(row['hardware']['load'] for row in of_seeds):.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def theirs(row: dict[str, str]) -> str:
    return f"| {' | '.join(row[name] for name in ('system', 'mrr', 'hits_at_1', 'hits_at_10', 'features', 'note'))} |"


def spread(values: list[float], digits: int = 2) -> str:
    """Mean, and the deviation if there are several values."""
    deviation = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{deviation}"


if __name__ == "__main__":
    main()
