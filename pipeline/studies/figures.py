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
LINES = ("-", "--", ":")


@rc_context(STYLE)
def sweep(study: Study, rows: Sequence[Row], measure: str, baseline: float | None = None) -> Figure:
    """A measure by the swept value, one line a system: means, with a band of ± one standard deviation over seeds."""
    figure = Figure(figsize=(10, 5.6), layout="constrained")
    axes = figure.add_subplot()
    scale, values = _scale(measure), list(map(str, study.values))
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
    axes.set_xticks(numbers, values)
    axes.set(
        xlabel=study.value or "value",
        ylabel=title(measure),
        title=f"{_capital(title(measure))} by {study.value or 'value'}",
    )
    axes.legend()
    return figure


@rc_context(STYLE)
def bars(study: Study, rows: Sequence[Row], names: Sequence[str]) -> Figure:
    """Measures beside each other, one colour a system and value: means with ± one standard deviation over seeds.

    Measures in percent have a panel, and so an axis, of their own.
    """
    shown, panels = groups(rows), [part for part in _by_unit(names) if part]
    figure = Figure(figsize=(10, 2 + 0.45 * len(names) * len(shown)), layout="constrained")
    drawn = figure.subplots(len(panels), 1, height_ratios=[len(part) for part in panels], squeeze=False)[:, 0]
    height = 0.8 / len(shown)
    for axes, part in zip(drawn, panels, strict=True):
        for index, (group, colour) in enumerate(zip(shown, cycle(COLOURS), strict=False)):
            found = [(place, _scale(name), group.of(name)) for place, name in enumerate(part) if group.of(name)]
            places = [place + (index - (len(shown) - 1) / 2) * height for place, _, _ in found]
            means = [scale * mean(of) for _, scale, of in found]
            spread = [scale * stdev(of) if len(of) > 1 else 0.0 for _, scale, of in found]
            axes.barh(places, means, height, xerr=spread, color=colour, label=group.label)
        axes.set_yticks(range(len(part)), [title(name) for name in part])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
    if len(shown) > 1:
        handles, labels = max((axes.get_legend_handles_labels() for axes in drawn), key=lambda found: len(found[1]))
        figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(shown)))
    return figure


@rc_context(STYLE)
def epochs(study: Study, rows: Sequence[Row], names: Sequence[str]) -> Figure:
    """Metrics of the training by epoch: means over the seeds that got so far.

    One metric: one line a system and value. Several, of one unit: a panel for each system and value, one line a metric.
    """
    shown, several = groups(rows), len(names) > 1
    figure = Figure(figsize=(max(10, 4.5 * len(shown)) if several else 10, 5.6), layout="constrained")
    panels = figure.subplots(1, len(shown) if several else 1, sharey=True, squeeze=False)[0]
    looks = [(colour, line) for line in LINES for colour in COLOURS]  # told apart also where colours are used again
    look = dict(zip(names if several else [group.label for group in shown], cycle(looks), strict=False))
    for index, group in enumerate(shown):
        axes = panels[index if several else 0]
        for name in names:
            curves = [dict(map(tuple, row["curves"].get(name, []))) for row in group.rows if "curves" in row]
            steps = sorted({step for curve in curves for step in curve})
            if not steps:
                continue
            means = [_scale(name) * mean(curve[step] for curve in curves if step in curve) for step in steps]
            colour, line = look[name if several else group.label]
            label = title(name) if several else group.label
            marker = "o" if len(steps) <= (1 if several else 25) else ""  # would hide the dashes of many lines
            axes.plot(steps, means, line, marker=marker, color=colour, label=label)
    for axes, group in zip(panels, shown, strict=False):
        axes.set(xlabel="epoch", title=group.label if several else f"{_capital(title(names[0]))} over the training")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(fontsize=11)
    panels[0].set_ylabel("value" if several else title(names[0]))
    return figure


@rc_context(STYLE)
def joint_map(points: Mapping[str, NDArray[np.float64]], kinds: Sequence[str], method: str) -> Figure:
    """One map of the vectors of all modalities: colour by type, marker by modality (MANS, Fig. 5).

    ``points``: ``[n, 2]`` by modality, NaN for entities that lack it; ``kinds``: the types ``[n]``. Types beyond the
    most frequent ones have one colour together.
    """
    figure = Figure(figsize=(10, 7.5), layout="constrained")
    axes = figure.add_subplot()
    names, sizes = np.unique(np.array(kinds), return_counts=True)
    common = names[np.argsort(-sizes)][: len(COLOURS)]
    for (modality, xy), marker in zip(points.items(), cycle(MARKERS), strict=False):
        there = ~np.isnan(xy).any(axis=1)
        for kind, colour in zip([*common, None], [*COLOURS[: len(common)], NEUTRAL], strict=True):
            rows = there & (~np.isin(kinds, common) if kind is None else np.array(kinds) == kind)
            if rows.any():
                label = f"{kind or 'other'}, {modality}"
                x, y = xy[rows].T
                axes.scatter(x, y, s=28, alpha=0.7, color=colour, marker=marker, linewidths=0, label=label)
    axes.set(xticks=[], yticks=[], title=f"{_capital(' and '.join(points))} vectors in one space ({method})")
    figure.legend(loc="outside lower center", fontsize=11, ncols=3, markerscale=1.5)
    return figure


def _scale(name: str) -> int:
    return 100 if is_percent(name) else 1


def _by_unit(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The measures in percent, and the others."""
    return [name for name in names if is_percent(name)], [name for name in names if not is_percent(name)]


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _numbers(values: Sequence[str]) -> list[Any]:
    """The values as numbers; their positions where one is no number."""
    try:
        return [float(value) for value in values]
    except ValueError:
        return list(range(len(values)))
