"""Figures of an evaluation, sized for a projector. Each function draws one and returns it; ``save`` writes it.

Titles state the result; text is at least 16 pixels high on a screen 1280 pixels wide.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mmkgc.components.kge.evaluation.metrics import QueryRanks
from mmkgc.components.runtime.errors import printable
from mmkgc.components.runtime.files import atomic_path

STYLE: Any = {
    "font.size": 15,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "legend.fontsize": 13,
    "grid.alpha": 0.3,
    "lines.linewidth": 2.5,
    "lines.markersize": 8,
    "legend.frameon": False,
    "text.parse_math": False,  # names with dollar signs are not formulas
}
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito, safe for colour blindness
NEUTRAL = "#999999"


@rc_context(STYLE)  # for text created while drawing, such as tick labels
def save(figure: Figure, path: Path) -> Path:
    """Write a PNG; the same figure gives the same bytes."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110, metadata={"Software": None})
    return path


def _axes(width: float = 10, height: float = 5.6) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


@rc_context(STYLE)
def rank_histogram(queries: QueryRanks) -> Figure:
    """Histogram of the answers' ranks for head and tail queries (doubling ranges)."""
    figure, axes = _axes()
    top = max(int(np.ceil(np.log2(queries.realistic.max() + 1))), 1)
    lows = 2 ** np.arange(top + 1)
    for offset, side, colour in ((-0.2, "head", COLOURS[1]), (0.2, "tail", COLOURS[0])):
        ranks = queries.realistic[queries.side == side]
        counts, _ = np.histogram(ranks, bins=[*lows[:-1], lows[-1] + 1])
        axes.bar(np.arange(top) + offset, counts / max(len(ranks), 1), 0.4, color=colour, label=f"{side} asked")
    labels = [str(low) if low == high - 1 else f"{low}–{high - 1}" for low, high in pairwise(lows)]
    axes.set_xticks(range(top), labels, rotation=45, ha="right")
    first, ten = (np.mean(queries.realistic <= k) for k in (1, 10))
    title = f"The answer is ranked first in {first:.0%} of the queries, among ten in {ten:.0%}"
    axes.set(xlabel="realistic rank of the answer", ylabel="share of queries", title=title)
    axes.legend()
    return figure


@rc_context(STYLE)
def metric_bars(rows: Sequence[Mapping[str, Any]], kind: str, limit: int = 15) -> Figure:
    """MRR of head and tail queries for each value of a slice, in the given order from the top."""
    shown = list(rows[:limit])[::-1]
    worst, best = (f(shown, key=lambda row: row["both"]["mrr"]) for f in (min, max))
    figure, axes = _axes(height=2.3 + 0.5 * len(shown))
    for offset, side, colour in ((-0.2, "head", COLOURS[1]), (0.2, "tail", COLOURS[0])):
        values = [row.get(side, {}).get("mrr", 0.0) for row in shown]
        axes.barh(np.arange(len(shown)) + offset, values, 0.4, color=colour, label=f"{side} asked")
    axes.set_yticks(range(len(shown)), [f"{_short(row['value'])} ({row['queries']})" for row in shown])
    axes.set(xlabel="MRR (in brackets: number of queries)", xlim=(0, 1))
    title = f"MRR by {kind}: {worst['both']['mrr']:.2f} ({_short(worst['value'])})"
    figure.suptitle(f"{title} to {best['both']['mrr']:.2f} ({_short(best['value'])})" if worst != best else title)
    axes.grid(visible=False, axis="y")
    figure.legend(loc="outside lower center", ncols=2, reverse=True)
    return figure


@rc_context(STYLE)
def calibration_curve(
    probabilities: NDArray[np.float64], labels: NDArray[np.bool_], error: float, bins: int = 10
) -> Figure:
    """Share of right answers against calibrated probability; perfect calibration lies on the diagonal.

    ``error``: the expected calibration error.
    """
    figure, (axes, below) = _stacked()
    axes.plot([0, 1], [0, 1], "--", color=NEUTRAL, label="perfect")
    predicted, observed = reliability(probabilities, labels, bins)
    axes.plot(predicted, observed, "o-", color=COLOURS[0], label="model")
    title = f"Probabilities are {error:.3f} off on average\n(ten best unknown answers a query)"
    axes.set(ylabel="share of right answers", title=title, xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="upper left")
    for truth, colour, name in ((True, COLOURS[0], "right"), (False, COLOURS[1], "wrong")):
        values = probabilities[labels == truth]
        below.hist(values, bins=2 * bins, range=(0, 1), color=colour, alpha=0.6, label=name)
    below.set(xlabel="calibrated probability", ylabel="answers", yscale="log", xlim=(0, 1))
    below.yaxis.set_major_formatter(lambda count, _: f"{count:g}")  # the default is mathtext, which is switched off
    below.legend()
    return figure


def _stacked() -> tuple[Figure, tuple[Axes, Axes]]:
    figure = Figure(figsize=(8, 8), layout="constrained")
    axes, below = figure.subplots(2, 1, height_ratios=(3, 1))
    return figure, (axes, below)


def reliability(
    probabilities: NDArray[np.float64], labels: NDArray[np.bool_], bins: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean probability and share of true triples in each of ``bins`` groups of equal size."""
    groups = [group for group in np.array_split(np.argsort(probabilities, kind="stable"), bins) if len(group)]
    means = np.array([[probabilities[group].mean(), labels[group].mean()] for group in groups])
    return means[:, 0], means[:, 1]


@rc_context(STYLE)
def modality_weights(shares: Mapping[str, Mapping[str, float]], limit: int = 15) -> Figure:
    """Mean modality weights by relation (AdaMF-MAT, Fig. 5), ``{relation: {modality: weight}}``; the remainder last."""
    shown = list(shares.items())[:limit][::-1]
    modalities = list(shown[0][1])
    figure, axes = _axes(height=2.2 + 0.5 * len(shown))
    left = np.zeros(len(shown))
    colours = [*COLOURS[: len(modalities) - 1], NEUTRAL]  # the last is the remainder, not a modality
    for modality, colour in zip(modalities, colours, strict=True):
        widths = np.array([values[modality] for _, values in shown])
        axes.barh(range(len(shown)), widths, left=left, color=colour, label=modality)
        left += widths
    axes.set_yticks(range(len(shown)), [_short(relation) for relation, _ in shown])
    means = {modality: np.mean([values[modality] for values in shares.values()]) for modality in modalities}
    title = "What a score rests on: " + ", ".join(f"{m} {share:.0%}" for m, share in list(means.items())[:-1])
    axes.set(xlabel="mean share in the score, relation by relation", xlim=(0, 1))
    figure.suptitle(title)
    axes.grid(visible=False)
    figure.legend(loc="outside lower center", ncols=len(modalities))
    return figure


@rc_context(STYLE)
def embedding_map(points: Mapping[str, NDArray[np.float64]], kinds: Sequence[str]) -> Figure:
    """Two-dimensional maps of the entities' embeddings, one panel per modality (MANS, Fig. 5), coloured by kind.

    ``points`` are ``[n, 2]`` per modality, with NaN rows for entities that lack it; ``kinds`` ``[n]``.
    """
    figure = Figure(figsize=(4.2 * len(points), 5.6), layout="constrained")
    panels = figure.subplots(1, len(points), squeeze=False)[0]
    names, sizes = np.unique(np.array(kinds), return_counts=True)
    common = names[np.argsort(-sizes)][: len(COLOURS)]
    for axes, (modality, xy) in zip(panels, points.items(), strict=True):
        for kind, colour in zip([*common, None], [*COLOURS[: len(common)], NEUTRAL], strict=True):
            rows = ~np.isin(kinds, common) if kind is None else np.array(kinds) == kind
            if rows.any():
                axes.scatter(*xy[rows].T, s=24, alpha=0.7, color=colour, label=kind or "other", linewidths=0)
        axes.set(title=modality, xticks=[], yticks=[])
    figure.suptitle("Entities in the two main directions of each embedding")
    if len(names) > 1:
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, markerscale=2)
    return figure


@rc_context(STYLE)
def curves(
    series: Mapping[str, Sequence[tuple[float, float]]], title: str, x: str, y: str, zero: bool = True
) -> Figure:
    """Lines of (x, y) points, one per name: β of MANS-A by epoch, MRR by share of missing modalities, …"""
    figure, axes = _axes()
    for (name, points), colour in zip(series.items(), COLOURS, strict=False):
        axes.plot(*zip(*points, strict=True), "o-" if len(points) <= 25 else "-", color=colour, label=name)
    axes.set(title=title, xlabel=x, ylabel=y)
    if zero:
        axes.set_ylim(0, 1.05 * axes.dataLim.ymax or None)
    if len(series) > 1:
        axes.legend()
    return figure


@rc_context(STYLE)
def change_bars(changes: Mapping[str, tuple[float, float, float]], title: str, limit: int = 15) -> Figure:
    """Changes with intervals, ``{name: (change, low, high)}``, with a line at zero."""
    shown = list(changes.items())[:limit][::-1]
    figure, axes = _axes(height=1.8 + 0.5 * len(shown))
    for row, (_, (change, low, high)) in enumerate(shown):
        colour = NEUTRAL if low <= 0 <= high else COLOURS[0] if low > 0 else COLOURS[1]
        axes.plot([low, high], [row, row], color=colour)
        axes.plot([change], [row], "o", color=colour)
    axes.axvline(0, color="black", linewidth=1)
    axes.set_yticks(range(len(shown)), [_short(name) for name, _ in shown])
    axes.set(xlabel="change of MRR (grey: not sure)")
    figure.suptitle(title)
    axes.grid(visible=False, axis="y")
    return figure


@rc_context(STYLE)
def search_history(trials: Sequence[tuple[int, float]], pruned: Sequence[tuple[int, float]]) -> Figure:
    """Development MRR of every finished trial (number, value) of a search, and the best so far; the pruned in grey."""
    figure, axes = _axes()
    if pruned:
        numbers, values = np.array(pruned).T
        axes.scatter(numbers, values, color=NEUTRAL, s=30, label="pruned")
    numbers, values = (np.array(column) for column in zip(*trials, strict=True))
    axes.scatter(numbers, values, color=COLOURS[0], s=60, label="trial")
    axes.step(numbers, np.maximum.accumulate(values), where="post", color=COLOURS[1], label="best so far")
    best = values.argmax()
    title = f"Trial {numbers[best]} is the best of {len(trials) + len(pruned)}: development MRR {values[best]:.3f}"
    axes.set(title=title, xlabel="trial", ylabel="development MRR")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="lower right")
    return figure


@rc_context(STYLE)
def importance_bars(importance: Mapping[str, float]) -> Figure:
    """Importance of each searched key, the most important on top."""
    shown = sorted(importance.items(), key=lambda item: item[1])
    figure, axes = _axes(height=1.8 + 0.6 * len(shown))
    axes.barh([_short(key) for key, _ in shown], [value for _, value in shown], color=COLOURS[0])
    axes.set(xlabel="importance (fANOVA)", xlim=(0, 1))
    figure.suptitle(f"The development MRR depends most on {_short(shown[-1][0])}")
    axes.grid(visible=False, axis="y")
    return figure


def _short(label: str, length: int = 32) -> str:
    label = printable(label)
    return label if len(label) <= length else label[: length - 1] + "…"
