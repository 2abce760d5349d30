"""Builds the FAISS index of a large graph's entities and measures its recall, when the model is packaged."""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import torch

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL
from mmkgc.components.kge.interactions.base import QueryInteraction, Side
from mmkgc.components.kge.interactions.geometry import Dot
from mmkgc.components.kge.model import Model
from mmkgc.components.runtime.progress import track
from mmkgc.serving.engine.index import LEAST, TOP, Index, IndexInfo, searchable
from mmkgc.serving.engine.topk import top_k

AT_ONCE = 16
SAMPLES_PER_CELL, ROUNDS = 40, 10  # of k-means
SEED = 0
FEW_CELLS = 8  # of as many cells, one at most is probed
FEW_ENTITIES = 50  # of as many entities, one at most is re-ranked


def build_index(bundle: Bundle, recall: float, queries: int) -> Index | None:
    """Build an index whose recall@10 on ``queries`` queries from the train triples is at least ``recall``.

    Cells are tried first: of vectors that form clusters, a search reads few. Where the answers are spread over many
    cells, a search reads a short code of every entity instead. Returns None if the interaction cannot be indexed, or
    if so many candidates would be needed that an exact scan is as fast.
    """
    model = bundle.model.freeze()
    vectors = searchable(model)
    if vectors is None:
        return None
    asked = list(sample(bundle, queries))
    truth = [best(model, side, triples) for side, triples in asked]
    for settings in filter(None, (cells(len(vectors)), codes(*vectors.shape))):
        made = make(model, vectors.numpy(), settings[0].kind)
        found = cache(partial(_recall, model, made, asked, truth))
        place = bisect_left(settings, recall, key=found)  # more cells, or more candidates, find more
        if place < len(settings):
            info = settings[place]
            return Index(model, made, replace(info, recall=found(info), queries=queries))
    return None


def cells(n: int) -> list[IndexInfo]:
    """Settings of an inverted file with one byte per coordinate, whose number of cells is the power of two nearest to
    4 √N: the number of probed cells doubles.
    """
    count = 1 << round(np.log2(4 * n**0.5))
    return [IndexInfo(f"IVF{count},SQ8", probes) for probes in _doubling(1, count // FEW_CELLS)]


def codes(n: int, width: int) -> list[IndexInfo]:
    """Settings of codes, four bits for two coordinates, that are compared in the processor's registers ("PQ fast scan",
    André et al. 2015): the number of candidates doubles.
    """
    parts = width // 2 if width % 2 == 0 else width
    return [IndexInfo(f"PQ{parts}x4fs", 0, candidates=c) for c in _doubling(2 * LEAST, n // FEW_ENTITIES)]


def _doubling(first: int, most: int) -> Iterator[int]:
    while first <= most:
        yield first
        first *= 2


def make(model: Model, vectors: np.ndarray, kind: str) -> Any:
    """A trained and filled FAISS index of ``vectors`` ``[N, e]``."""
    import faiss

    assert isinstance(model.interaction, QueryInteraction)
    inner = isinstance(model.interaction.geometry, Dot)
    metric = faiss.METRIC_INNER_PRODUCT if inner else faiss.METRIC_L2
    index: Any = faiss.index_factory(vectors.shape[1], kind, metric)
    count = getattr(index, "nlist", 0)
    if count:
        index.cp.seed, index.cp.niter = SEED, ROUNDS
    size = min(len(vectors), SAMPLES_PER_CELL * max(count, 1024))
    index.train(vectors[np.random.default_rng(SEED).choice(len(vectors), size, replace=False)])
    for part in track(np.array_split(vectors, max(1, len(vectors) // 50_000)), "index", unit="part"):
        index.add(part)
    return index


def sample(bundle: Bundle, queries: int) -> Iterator[tuple[Side, torch.Tensor]]:
    """Random train triples in batches ``[n, 3]``, each with the side to predict; the sides alternate."""
    generator = torch.Generator().manual_seed(SEED)
    triples = bundle.train[torch.randint(len(bundle.train), (queries,), generator=generator)]
    for number, part in enumerate(triples.split(AT_ONCE)):
        yield ("tail", "head")[number % 2], part


@torch.inference_mode()
def best(model: Model, side: Side, triples: torch.Tensor) -> np.ndarray:
    """The true top 10 ``[n, 10]`` of the queries, by an exact scan of all entities."""
    known = triples[:, HEAD if side == "tail" else TAIL]
    return top_k(model.score_all(model.everyone(), known, triples[:, RELATION], side).numpy(), TOP)


@torch.inference_mode()
def _recall(
    model: Model, made: Any, asked: list[tuple[Side, torch.Tensor]], truth: list[np.ndarray], info: IndexInfo
) -> float:
    """Recall with these settings: the mean fraction of the true top 10 that is found."""
    index, shares = Index(model, made, info), []
    for (side, triples), rows in zip(asked, truth, strict=True):
        known = model.everyone().modal.rows(triples[:, HEAD if side == "tail" else TAIL])
        found = index.search(known, triples[:, RELATION], side, info.width(TOP, 0))
        shares += [np.isin(row, ids).mean() for row, ids in zip(rows, found, strict=True)]
    return float(np.mean(shares))
