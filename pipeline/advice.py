"""Which recipe fits a dataset, and why; without PyTorch."""

from collections.abc import Mapping
from typing import NamedTuple

ENOUGH = 0.1  # share of entities with numbers or pictures, from which they are worth an encoder
MANY = 200_000  # entities, above which scores of a batch of all of them need several gigabytes
SCORES = 200_000_000  # of a batch, at most: 0.8 GB in float32


class Advice(NamedTuple):
    """Settings of the default recipe, ``key=value`` each, and a sentence for each of them and for the recipe."""

    settings: list[str]
    reasons: list[str]


def advise(counts: Mapping[str, int]) -> Advice:
    """Advice from the sizes of a graph, as ``profile.counts`` gives them."""
    entities = counts["entities"]
    settings, reasons = [], ["default: accurate and fast on any graph; texts and pictures are added to the structure"]
    if counts["with_number"] >= ENOUGH * entities:
        settings.append("extract.numeric=literals")
        reasons.append(f"{counts['with_number']:,} entities have numbers, which the default leaves out")
    if not counts["with_image"]:
        settings.append("extract.visual=null")
        reasons.append("no entity has a picture: no image encoder")
    if entities > MANY:
        size = max(16, SCORES // entities)
        settings.append(f"train.batch_size={size}")
        reasons.append(f"{entities:,} entities: the scores of a batch of {size} against all of them fit into memory")
    return Advice(settings, reasons)
