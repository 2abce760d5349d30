"""The table of a study: means over seeds beside the numbers that papers print."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from statistics import mean, stdev
from typing import Any, NamedTuple

from mmkgc.components.evaluate.report import Block, Paragraph, Table
from mmkgc.components.evaluate.tracked import CURVES
from mmkgc.pipeline.studies.config import Study

Row = Mapping[str, Any]
POPULARITY = "relation popularity"
TITLES = CURVES | {
    "seconds/epoch": "seconds per epoch",
    "epochs/best": "best epoch",
    "epochs/run": "epochs",
    "memory/peak_gb": "peak memory (GB)",
}
"""Names of measures in tables and figures where the measure's own words do not say it."""


class Group(NamedTuple):
    """The cells of a system and a value, one for each seed."""

    system: str
    value: str
    rows: list[Row]

    @property
    def label(self) -> str:
        """Name in tables, as in a study's ``printed``."""
        return ", ".join(filter(None, [self.system, self.value]))

    def of(self, measure: str) -> list[float]:
        """The values of a measure of the cells that have it."""
        return [row["metrics"][measure] for row in self.rows if measure in row.get("metrics", {})]


def groups(rows: Iterable[Row]) -> list[Group]:
    """Rows of equal system and value, in order."""
    found: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        found[row["system"], row["value"]].append(row)
    return [Group(*place, together) for place, together in found.items()]


def measures(study: Study, rows: Iterable[Row]) -> list[str]:
    """The study's measures; those that ``*`` stands for in natural order, ``t5`` before ``t10``."""
    there = sorted({name for row in rows for name in row.get("metrics", {})}, key=_natural)
    return list(
        dict.fromkeys(name for asked in study.measure for name in there if name == asked or fnmatchcase(name, asked))
    )


def _natural(name: str) -> list[tuple[str, int]]:
    """Sort key of a name by its words and numbers."""
    return [(word, int(number or -1)) for word, number in re.findall(r"(\D+)(\d*)", name)]


def table(study: Study, rows: Sequence[Row], baseline: Mapping[str, float] | None = None) -> Table:
    """One line a system and value: mean ± standard deviation over seeds, and what papers print."""
    names = measures(study, rows)
    header = ["", *map(title, names), *(f"{title(n)}, {p.source}" for p in study.printed for n in _in(p.values, names))]
    lines = []
    for group in groups(rows):
        own = [told(name, group.of(name)) for name in names]
        printed = [_printed(p.values, group.label, n) for p in study.printed for n in _in(p.values, names)]
        lines.append([group.label, *own, *printed])
    if baseline and any(name in baseline for name in names):
        shown = [number(name, baseline[name]) if name in baseline else "" for name in names]
        lines.append([POPULARITY, *shown, *[""] * (len(header) - 1 - len(names))])
    return Table(header, lines)


def problems(rows: Iterable[Row]) -> list[Block]:
    """A paragraph for each cell that could not be trained."""
    failed = [(row["system"], row["value"], row["seed"], row["problem"]) for row in rows if "problem" in row]
    return [Paragraph(f"{system} {value} seed {seed}: {problem}") for system, value, seed, problem in failed]


def told(name: str, values: Sequence[float]) -> str:
    """Mean ± standard deviation; – without values."""
    if not values:
        return "–"
    return number(name, mean(values)) + (f" ± {number(name, stdev(values))}" if len(values) > 1 else "")


def number(name: str, value: float) -> str:
    """A measure as text: ranking metrics in percent, mean ranks with one decimal, others with three digits."""
    if is_percent(name):
        return f"{100 * value:.2f}"
    return f"{value:.1f}" if name.endswith("/mr") else f"{value:.3g}"


def is_percent(name: str) -> bool:
    """Whether a measure is shown in percent, as papers print it."""
    return name.startswith(("test/", "openke/", "dev/")) and not name.endswith(("/mr", "/amr"))


def title(name: str) -> str:
    """Name of a measure in tables and figures: ``test/hits_at_10`` → ``test H@10``."""
    if plain := TITLES.get(name.removeprefix("train/")):
        return plain
    plain = name.removeprefix("train/").replace("dhns_distance_", "distance, ").replace("hits_at_", "H@")
    plain = plain.replace("/", " ").replace("_", " ")
    return plain.replace("mrr", "MRR") + (" (%)" if is_percent(name) else "")


def _in(printed: Mapping[str, Mapping[str, float]], names: Sequence[str]) -> list[str]:
    """The measures of which a paper prints something."""
    return [name for name in names if any(name in values for values in printed.values())]


def _printed(printed: Mapping[str, Mapping[str, float]], label: str, name: str) -> str:
    value = printed.get(label, {}).get(name)
    return "" if value is None else f"{value:g}"
