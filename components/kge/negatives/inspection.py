"""A look at the negatives of a sampler: which entities it picks or generates for a few triples."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mmkgc.components.kge.encoded_entities import EncodedEntities
from mmkgc.components.kge.graph import KnownTriples
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.negatives.base import NegativeSampler
from mmkgc.components.kge.negatives.samples import (
    Batch,
    EntityNegatives,
    GeneratedNegatives,
    NegativeBlock,
    Negatives,
    ScoredBlock,
    ids_of,
)
from mmkgc.components.kge.negatives.scoring import score_blocks

SHOWN, EACH = 3, 4


@torch.no_grad()
def inspect(sampler: NegativeSampler, model: Model, triples: Tensor, held_out: KnownTriples) -> dict[str, Any]:
    """Negatives that the sampler, as training left it, makes for ``triples[B, 3]``, as JSON.

    ``shown``: the first triples with their score and up to four negatives of each kind: ``score``, and for each
    replaced side its ``entity``, the entities that single modalities come from (``parts``), or, of a generated one, the
    ``nearest`` entity in each modality with its cosine. ``false``: how many of the ``sampled`` entities make a triple
    of ``held_out``, the development split: negatives that are in fact true. Generated and mixed entities do not count.
    """
    batch = Batch(triples, torch.ones(len(triples), device=triples.device))
    sampled = sampler.sample(batch, model)
    encoded = model.encode([*ids_of(triples, sampled), *sampler.further_ids()])
    blocks = sampler.refine(batch, sampled, encoded, model)
    everyone = model.everyone()
    shown: list[dict[str, Any]] = [{"triple": triple, "negatives": []} for triple in triples[:SHOWN].tolist()]
    for block in blocks:
        positive, negative = score_blocks(model, encoded, triples, [block], block.terms)
        for place, row in enumerate(block.rows.tolist()):
            if row < len(shown):
                shown[row].setdefault("score", round(positive[place].item(), 4))
                shown[row]["negatives"] += _negatives(block, place, negative[place], everyone)
    return {"shown": shown, **_false(sampled, triples, held_out)}


def _negatives(block: NegativeBlock, place: int, scores: Tensor, everyone: EncodedEntities) -> list[dict[str, Any]]:
    sides = {side: made for side, made in (("head", block.head), ("tail", block.tail)) if made is not None}
    return [
        {"kind": block.name, "score": round(scores[column].item(), 4)}
        | {side: _described(made, place, column, everyone) for side, made in sides.items()}
        for column in range(min(EACH, len(scores)))
    ]


def _described(made: Negatives, place: int, column: int, everyone: EncodedEntities) -> dict[str, Any]:
    if isinstance(made, GeneratedNegatives):
        vectors = made.modal.vectors
        return {
            "nearest": {m: _nearest(vectors[m][place, min(column, made.count - 1)], everyone.modal[m]) for m in vectors}
        }
    parts = {m: ids[place, column].item() for m, ids in made.parts.items()}
    return {"entity": made.ids[place, column].item()} | ({"parts": parts} if parts else {})


def _nearest(vector: Tensor, table: Tensor) -> dict[str, Any]:
    """The entity ``of`` the table ``[N, e]`` whose vector has the largest cosine with ``vector[e]``."""
    cosines = normalize(table.float(), dim=1) @ normalize(vector.float(), dim=0)
    best = int(cosines.argmax())
    return {"entity": best, "cosine": round(cosines[best].item(), 4)}


def _false(blocks: list[NegativeBlock], triples: Tensor, held_out: KnownTriples) -> dict[str, int]:
    """Sampled entities that replace one side, and those of them that make a held-out triple."""
    sampled = false = 0
    for block in blocks:
        side = "tail" if block.head is None else "head"
        made = block.tail if block.head is None else block.head
        if block.replaces_one_side and isinstance(made, EntityNegatives) and not made.parts:
            sampled += made.ids.numel()
            false += len(held_out.collisions(triples[block.rows], side, made.ids))
    return {"sampled": sampled, "false": false}


def hardness(scored: Iterable[ScoredBlock]) -> dict[str, float]:
    """Mean σ(s⁻ − s⁺) of a batch's blocks, by name: near 0 for easy negatives, ½ for those that score as positives."""
    found: dict[str, list[Tensor]] = {}
    for block, positive, negative in scored:
        found.setdefault(block.name, []).append((negative - positive.unsqueeze(1)).sigmoid().flatten())
    return {f"hardness_{name}": torch.cat(values).mean().item() for name, values in found.items()}
