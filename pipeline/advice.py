"""Which recipe fits a dataset, and why; without PyTorch."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from mmkgc.components.runtime.nouns import counted
from mmkgc.components.runtime.quoting import json_line

ENOUGH = 0.1  # share of entities with numbers, pictures or words, from which they are worth an encoder
MANY = 10**10
"""Entities × train triples, ten times those of DB15K, above which no step may cost as much as there are entities."""
LARGE = {"ema": None, "optimizer": {"name": "row-adagrad", "lr": 0.1}, "dev_sample": 1000}
"""Changes of `train` with which a step of the default costs the batch instead of the graph (docs/scale.md)."""


class Advice(NamedTuple):
    """Settings of the default recipe, ``key=value`` each, and a sentence for each of them and for the recipe."""

    settings: list[str]
    reasons: list[str]


def advise(counts: Mapping[str, int], names: Iterable[str]) -> Advice:
    """Advice from the sizes of a graph, as ``profile.counts`` gives them, and the names of its entities."""
    entities = counts["entities"]
    settings, reasons = [], ["default: accurate and fast on any graph; texts and pictures are added to the structure"]
    if counts["with_number"] >= ENOUGH * entities:
        settings.append("extract.numeric=literals")
        reasons.append(
            f"{counted(counts['with_number'], 'entity has', 'entities have')} numbers, which the default leaves out"
        )
    if not counts["with_image"]:
        settings.append("extract.visual=null")
        reasons.append("no entity has a picture: no image encoder")
    if not counts["with_description"] and sum(map(_has_word, names)) < ENOUGH * entities:
        settings.append("extract.textual=null")
        reasons.append("no entity has a description, and the names are ids: no text encoder")
    if entities * counts["train"] > MANY:
        settings += [f"train.{key}={json_line(value)}" for key, value in LARGE.items()]
        sizes = f"{entities:,} entities and {counts['train']:,} triples"
        reasons.append(f"{sizes}: no averaged weights, and an optimiser whose step costs the batch, not the graph")
    return Advice(settings, reasons)


def _has_word(name: str) -> bool:
    """Whether a text encoder can read something in a name: three letters or more without digits.

    Ids such as ``/m/0h7_sc``, ``01245113`` and ``Q64`` have none.
    """
    return re.search(r"(?<!\w)[^\W\d]{3,}(?!\w)", name) is not None
