"""Candidates of a query from a FAISS index of the entities' vectors, for graphs too large for an exact scan.

An interaction can be indexed if it compares a query vector with every entity by an inner product or an L2 distance
(DistMult, ComplEx, RESCAL, TransE with p = 2, …) and the fusion has one term. The index is approximate; the model
rescores the candidates that it finds.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmkgc.components.kge.entity_encoders.base import ModalityEmbeddings
from mmkgc.components.kge.interactions.base import ProjectionInteraction, QueryInteraction, Side
from mmkgc.components.kge.interactions.geometry import L2, Dot
from mmkgc.components.kge.model import Model
from mmkgc.components.runtime.files import read_json, write_json
from mmkgc.components.runtime.nouns import counted

FILE, SETTINGS = "index.faiss", "index.json"
TOP = 10
LEAST = 64  # candidates for the top 10


@dataclass(frozen=True)
class IndexInfo:
    """Settings of an index and its measured ``recall`` of the true top 10, on queries from the train triples.

    ``kind`` is FAISS's name, ``probes`` the number of cells that are searched (0 if it has none), and ``candidates``
    how many entities are re-ranked for the top 10.
    """

    kind: str
    probes: int
    recall: float = 0.0
    queries: int = 0
    candidates: int = LEAST

    def __str__(self) -> str:
        read = f"{counted(self.probes, 'cell')} probed" if self.probes else "all codes read"
        measured = f"recall@{TOP} {self.recall:.4f} on {counted(self.queries, 'query')}"
        return f"index {self.kind}, {read}, {self.candidates} candidates re-ranked exactly: {measured}"

    def width(self, k: int, known: int) -> int:
        """Number of candidates to search for ``k`` answers when up to ``known`` of them may be filtered out."""
        return self.candidates * max(TOP, k) // TOP + known


class Index:
    """An index of all N entities of a model: ``search`` finds candidates, ``score`` computes the model's scores."""

    def __init__(self, model: Model, index: Any, info: IndexInfo) -> None:
        self.model, self.index, self.info = model, index, info
        (self.term,) = model.fusion.terms
        if info.probes:
            index.nprobe = info.probes

    @classmethod
    def load(cls, folder: Path, model: Model) -> "Index | None":
        """The memory-mapped index in a bundle's folder; ``None`` if there is none."""
        if not (folder / FILE).exists():
            return None
        import faiss

        info = IndexInfo(**read_json(folder / SETTINGS))
        return cls(model, faiss.read_index(str(folder / FILE), faiss.IO_FLAG_MMAP), info)

    def save(self, folder: Path) -> None:
        """Write the index and its settings."""
        import faiss

        faiss.write_index(self.index, str(folder / FILE))
        write_json(folder / SETTINGS, asdict(self.info))

    def search(self, known: ModalityEmbeddings, relations: Tensor, side: Side, count: int) -> np.ndarray:
        """Ids int64 ``[B, ≤ count]`` of candidate entities, ascending in each row; N where there are fewer."""
        ours, _, direction = self.model.roles(self.term, side)
        interaction = self.model.interaction
        assert isinstance(interaction, QueryInteraction)
        vectors = interaction.entity(self.model.fusion.views(known, relations)[ours])
        points = interaction.query(vectors, self.model.relation(self.term, relations, side), direction)
        _, ids = self.index.search(points.float().contiguous().numpy(), min(count, self.index.ntotal))
        return np.sort(np.where(ids < 0, self.index.ntotal, ids), axis=1)

    def score(self, known: ModalityEmbeddings, relations: Tensor, side: Side, ids: np.ndarray) -> np.ndarray:
        """The model's scores float32 ``[B, C]`` of the entities ``ids[B, C]``; −∞ for id N."""
        ours, theirs, direction = self.model.roles(self.term, side)
        vectors = self.model.fusion.views(known, relations)[ours]
        relation = self.model.relation(self.term, relations, side)
        distinct, index = np.unique(np.minimum(ids, self.index.ntotal - 1), return_inverse=True)
        table = self.model.everyone().views[theirs][torch.from_numpy(distinct)]
        rows = torch.from_numpy(index.reshape(ids.shape))
        scores = self.model.interaction.score_candidates([(vectors, relation, direction)], table, rows)
        return np.where(ids < self.index.ntotal, (self.term.weight * scores).float().numpy(), np.float32(-np.inf))


def searchable(model: Model) -> Tensor | None:
    """Vectors ``[N, e]`` to be indexed; ``None`` if the model cannot be searched by an index."""
    interaction, terms = model.interaction, model.fusion.terms
    if not isinstance(interaction, QueryInteraction) or isinstance(interaction, ProjectionInteraction):
        return None
    if not isinstance(interaction.geometry, Dot | L2) or len(terms) != 1 or terms[0].head != terms[0].tail:
        return None
    if terms[0].weight <= 0 or terms[0].head not in (views := model.everyone().views):
        return None
    return interaction.entity(views[terms[0].head]).detach()


def places(ids: np.ndarray, n: int, rows: np.ndarray, entities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and column in ``ids[B, C]`` (ascending, of n entities) of each pair (row, entity) that ``ids`` contains."""
    codes = (np.arange(len(ids))[:, None] * (n + 1) + ids).ravel()
    wanted = rows * (n + 1) + entities
    found = np.searchsorted(codes, wanted)
    found = found[(found < len(codes)) & (codes[np.minimum(found, len(codes) - 1)] == wanted)]
    return found // ids.shape[1], found % ids.shape[1]
