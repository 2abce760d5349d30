"""Diagnostics of a multi-modal model: modality weights, embedding maps and the effect of missing modalities."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmkgc.components.kge.entity_encoders.base import STRUCTURE
from mmkgc.components.kge.evaluation.ranks import mrr, rank
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL, Graph, KnownTriples
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.tensors import total

STAND_IN = "stand-in for a missing one"
BLOCK = 1024
MAPPED_ENTITIES = 1500
CURVE_TRIPLES = 500


@torch.no_grad()
def relation_shares(
    model: Model, triples: Tensor, graph: Graph, masks: Mapping[str, Tensor]
) -> dict[str, dict[str, float]]:
    """Mean modality weights of ``triples`` by relation, ``{relation: {modality: weight}}``, frequent relations first.

    The weight of vectors that replace missing images and texts is counted separately, as ``STAND_IN``, because it says
    nothing about the modality. Empty if the fusion has no weights.
    """
    blocks = [_shares(model, block, masks) for block in triples.split(BLOCK)]
    if not blocks or not blocks[0]:
        return {}
    shares = {m: torch.cat([block[m] for block in blocks]) for m in blocks[0]}
    counts = torch.bincount(triples[:, RELATION], minlength=len(graph.relations))
    present = [relation for relation in counts.argsort(descending=True, stable=True).tolist() if counts[relation]]
    return {
        graph.relations.names[relation]: {
            m: float(s[triples[:, RELATION] == relation].mean()) for m, s in shares.items()
        }
        for relation in present
    }


def _shares(model: Model, triples: Tensor, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weight ``[B]`` of each modality that head and tail of ``triples[B, 3]`` have, averaged, and the remainder."""
    ends = triples[:, HEAD], triples[:, TAIL]
    weighed = [(ids, model.fusion.modality_weights(model.entities.encode(ids), triples[:, RELATION])) for ids in ends]
    own = {
        m: total(share[m] * masks[m][ids] if m in masks else share[m] for ids, share in weighed if share) / 2
        for m in weighed[0][1] or ()
    }
    return own | {STAND_IN: 1 - total(own.values())} if own else {}


@torch.no_grad()
def embedding_points(model: Model, masks: Mapping[str, Tensor], entities: Tensor) -> dict[str, NDArray[np.float64]]:
    """First two principal components of the embeddings of ``entities`` ``[n]`` in each modality, ``[n, 2]``.

    Rows of entities that lack the modality are NaN.
    """
    modal = model.entities.encode(entities)
    points = {}
    for modality, vectors in modal.vectors.items():
        has = masks[modality][entities] if modality in masks else torch.ones(len(entities), dtype=torch.bool)
        points[modality] = np.full((len(entities), 2), np.nan)
        if has.sum() > 2:
            points[modality][has.numpy()] = _principal(vectors[has]).numpy()
    return points


@torch.no_grad()
def joint_points(
    model: Model, masks: Mapping[str, Tensor], entities: Tensor, method: str = "PCA"
) -> dict[str, NDArray[np.float64]]:
    """Two coordinates ``[n, 2]`` of the embeddings of ``entities`` ``[n]`` in all modalities, mapped together.

    ``method``: PCA or t-SNE. Rows of entities that lack the modality are NaN. As in Fig. 5 of MANS, a modality whose
    vectors lie in another region than the structural ones is not aligned with them.
    """
    modal = model.entities.encode(entities)
    has = {m: masks[m][entities] if m in masks else torch.ones(len(entities)).bool() for m in modal.vectors}
    stacked = torch.cat([vectors[has[m]] for m, vectors in modal.vectors.items()])
    if method == "t-SNE":
        from sklearn.manifold import TSNE

        mapped = torch.from_numpy(
            TSNE(perplexity=min(30, len(stacked) - 1), random_state=0).fit_transform(stacked.numpy())
        )
    else:
        mapped = _principal(stacked)
    parts = mapped.split([int(own.sum()) for own in has.values()])
    points = {}
    for (m, own), xy in zip(has.items(), parts, strict=True):
        points[m] = np.full((len(entities), 2), np.nan)
        points[m][own.numpy()] = xy.numpy()
    return points


def mapped_entities(graph: Graph) -> Tensor:
    """Ids of the entities with most training triples, whose embeddings are learned best."""
    degree = torch.bincount(graph.train[:, [HEAD, TAIL]].flatten(), minlength=len(graph.entities))
    return degree.argsort(descending=True, stable=True)[:MAPPED_ENTITIES]


def _principal(vectors: Tensor) -> Tensor:
    """Coordinates ``[n, 2]`` along the two directions of largest variance; signs are fixed for reproducibility."""
    centred = (vectors - vectors.mean(0)).double()
    left, sizes, _ = torch.linalg.svd(centred, full_matrices=False)
    coordinates = left[:, :2] * sizes[:2]
    return coordinates * coordinates.gather(0, coordinates.abs().argmax(0, keepdim=True)).sign()


def missing_curve(model: Model, graph: Graph, shares: Sequence[float], seed: int) -> list[tuple[float, float]]:
    """Development MRR when image and text of a seeded share of all entities are hidden from the trained model.

    The model is not retrained, unlike in AdaMF-MAT's Fig. 3: the curve shows the effect of losing a modality after
    training. At most 500 triples are ranked per point. Empty if the model uses structure only.
    """
    if model.entities.modalities == (STRUCTURE,):
        return []
    generator = torch.Generator().manual_seed(seed)
    luck = torch.rand(len(graph.entities), generator=generator)
    triples = graph.valid[torch.randperm(len(graph.valid), generator=generator)[:CURVE_TRIPLES]]
    known = KnownTriples(torch.cat([graph.train, graph.valid]), len(graph.entities), len(graph.relations))
    points = []
    for share in shares:
        with _hidden(model, luck < share):
            points.append((share, mrr(rank(model, triples, known))))
    return points


@contextmanager
def _hidden(model: Model, hidden: Tensor) -> Iterator[None]:
    """Treat the entities ``hidden`` (bool ``[N]``) as having structure only, while the context is open."""
    masks = [model.entities.raw(m).mask for m in model.entities.modalities if m != STRUCTURE]
    kept = [mask.clone() for mask in masks]
    try:
        for mask in masks:
            mask &= ~hidden
        yield
    finally:
        for mask, before in zip(masks, kept, strict=True):
            mask.copy_(before)
