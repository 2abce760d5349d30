"""The figures of a study."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from statistics import mean, stdev
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mmkgc.components.evaluate.figures import COLOURS, NEUTRAL, STYLE
from mmkgc.pipeline.studies.config import Study
from mmkgc.pipeline.studies.tables import Row, groups, is_percent, title

MARKERS = ("o", "^", "s", "D")


@rc_context(STYLE)
def sweep(study: Study, rows: Sequence[Row], measure: str, baseline: float | None = None) -> Figure:
    """A measure by the swept value, one line a system: means, with a band of ± one standard deviation over seeds."""
    figure = Figure(figsize=(10, 5.6), layout="constrained")
    axes = figure.add_subplot()
    scale, values = 100 if is_percent(measure) else 1, list(map(str, study.values))
    numbers = _numbers(values)
    for system, colour in zip(study.systems, cycle(COLOURS), strict=False):
        found = {group.value: group.of(measure) for group in groups(rows) if group.system == system}
        places = [numbers[values.index(value)] for value, of in found.items() if of]
        means = np.array([scale * mean(of) for of in found.values() if of])
        spread = np.array([scale * stdev(of) if len(of) > 1 else 0.0 for of in found.values() if of])
        axes.plot(places, means, "o-", color=colour, label=system)
        axes.fill_between(places, means - spread, means + spread, color=colour, alpha=0.15, linewidth=0)
    if baseline is not None:
        axes.axhline(scale * baseline, color=NEUTRAL, linestyle="--", label="relation popularity")
    if numbers == list(range(len(values))):
        axes.set_xticks(numbers, values)
    axes.set(
        xlabel=study.value or "value", ylabel=title(measure), title=f"{title(measure)} by {study.value or 'value'}"
    )
    axes.legend()
    return figure


@rc_context(STYLE)
def bars(study: Study, rows: Sequence[Row], names: Sequence[str]) -> Figure:
    """Measures beside each other, one colour a system and value: means with ± one standard deviation over seeds."""
    figure = Figure(figsize=(10, 2 + 0.45 * len(names) * len(groups(rows))), layout="constrained")
    axes = figure.add_subplot()
    shown, height = groups(rows), 0.8 / len(groups(rows))
    for index, (group, colour) in enumerate(zip(shown, cycle(COLOURS), strict=False)):
        found = [group.of(name) for name in names]
        scales = [100 if is_percent(name) else 1 for name in names]
        means = [scale * mean(of) if of else 0.0 for scale, of in zip(scales, found, strict=True)]
        spread = [scale * stdev(of) if len(of) > 1 else 0.0 for scale, of in zip(scales, found, strict=True)]
        places = np.arange(len(names)) + (index - (len(shown) - 1) / 2) * height
        axes.barh(places, means, height, xerr=spread, color=colour, label=group.label)
    axes.set_yticks(range(len(names)), [title(name) for name in names])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    if len(shown) > 1:
        figure.legend(loc="outside lower center", ncols=min(3, len(shown)))
    return figure


@rc_context(STYLE)
def epochs(study: Study, rows: Sequence[Row], names: Sequence[str]) -> Figure:
    """Metrics of the training by epoch, one line a system, value and metric: means over the seeds that got so far."""
    figure = Figure(figsize=(10, 5.6), layout="constrained")
    axes, several, colours = figure.add_subplot(), len(names) > 1, cycle(COLOURS)
    for group in groups(rows):
        for name in names:
            curves = [dict(map(tuple, row["curves"].get(name, []))) for row in group.rows if "curves" in row]
            steps = sorted({step for curve in curves for step in curve})
            if not steps:
                continue
            means = [mean(curve[step] for curve in curves if step in curve) for step in steps]
            label = ", ".join(filter(None, [group.label, title(name) if several else ""]))
            axes.plot(steps, means, "o-" if len(steps) <= 25 else "-", color=next(colours), label=label)
    what = title(names[0]) if len(names) == 1 else "value"
    axes.set(xlabel="epoch", ylabel=what, title=f"{what[0].upper()}{what[1:]} over the training")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=11)
    return figure


@rc_context(STYLE)
def joint_map(points: Mapping[str, NDArray[np.float64]], kinds: Sequence[str], method: str) -> Figure:
    """One map of the vectors of all modalities: colour by type, marker by modality (MANS, Fig. 5).

    ``points``: ``[n, 2]`` by modality, NaN for entities that lack it; ``kinds``: the types ``[n]``.
    """
    figure = Figure(figsize=(10, 7), layout="constrained")
    axes = figure.add_subplot()
    names, sizes = np.unique(np.array(kinds), return_counts=True)
    common = names[np.argsort(-sizes)][: len(COLOURS)]
    for (modality, xy), marker in zip(points.items(), cycle(MARKERS), strict=False):
        for kind, colour in zip(common, COLOURS, strict=False):
            rows = np.array(kinds) == kind
            axes.scatter(
                xy[rows, 0],
                xy[rows, 1],
                s=28,
                alpha=0.7,
                color=colour,
                marker=marker,
                linewidths=0,
                label=f"{kind}, {modality}",
            )
    axes.set(xticks=[], yticks=[], title=f"{' and '.join(points)} vectors in one space ({method})")
    axes.legend(fontsize=10, ncols=2, markerscale=1.5)
    return figure


def _numbers(values: Sequence[str]) -> list[Any]:
    """The values as numbers; their positions where one is no number."""
    try:
        return [float(value) for value in values]
    except ValueError:
        return list(range(len(values)))
