"""Builds the FAISS index of a large graph's entities and measures its recall, when the model is packaged."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL
from mmkgc.components.kge.interactions.base import QueryInteraction, Side
from mmkgc.components.kge.interactions.geometry import Dot
from mmkgc.components.kge.model import Model
from mmkgc.components.runtime.progress import track
from mmkgc.serving.engine.index import Index, IndexInfo, searchable, width
from mmkgc.serving.engine.topk import top_k

TOP = 10
AT_ONCE = 16
SAMPLES_PER_CELL, ROUNDS = 40, 10  # of k-means
SEED = 0


def build_index(bundle: Bundle, recall: float, queries: int) -> tuple[Index, IndexInfo] | None:
    """Build an index whose recall@10 on ``queries`` queries from the train triples is at least ``recall``.

    Returns None if the interaction cannot be indexed, or if a search would probe more than a quarter of the cells: an
    exact scan is then as fast.
    """
    model = bundle.model.freeze()
    vectors = searchable(model)
    if vectors is None:
        return None
    cells = cells_of(len(vectors))
    index = Index(model, make(model, vectors.numpy(), cells), 1)
    asked = list(sample(bundle, queries))
    truth = [best(model, side, triples) for side, triples in asked]
    probes = 1
    while (found := measure(index, asked, truth)) < recall:
        probes *= 2
        if probes > cells // 4:
            return None
        index.set_probes(probes)
    return index, IndexInfo(kind_of(cells), probes, found, queries)


def cells_of(n: int) -> int:
    """Number of cells: the power of two nearest to 4 √N."""
    return 1 << round(np.log2(4 * n**0.5))


def kind_of(cells: int) -> str:
    """FAISS factory string: an inverted file with one byte per coordinate."""
    return f"IVF{cells},SQ8"


def make(model: Model, vectors: np.ndarray, cells: int) -> Any:
    """A trained and filled FAISS index of ``vectors`` ``[N, e]``."""
    import faiss

    assert isinstance(model.interaction, QueryInteraction)
    inner = isinstance(model.interaction.geometry, Dot)
    metric = faiss.METRIC_INNER_PRODUCT if inner else faiss.METRIC_L2
    index: Any = faiss.index_factory(vectors.shape[1], kind_of(cells), metric)
    index.cp.seed, index.cp.niter = SEED, ROUNDS
    size = min(len(vectors), SAMPLES_PER_CELL * cells)
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
def measure(index: Index, asked: list[tuple[Side, torch.Tensor]], truth: list[np.ndarray]) -> float:
    """Recall of the index: the mean fraction of the true top 10 that it finds."""
    shares = []
    for (side, triples), rows in zip(asked, truth, strict=True):
        known = index.model.everyone().modal.rows(triples[:, HEAD if side == "tail" else TAIL])
        found = index.search(known, triples[:, RELATION], side, width(TOP, 0))
        shares += [np.isin(row, ids).mean() for row, ids in zip(rows, found, strict=True)]
    return float(np.mean(shares))
