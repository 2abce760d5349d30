"""Entities: every entity is a bundle of vectors, one per modality, with masks for what it lacks."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from mmkgc.components.kge.features import Features
from mmkgc.components.kge.kernels.rows import take
from mmkgc.components.kge.tensors import random_vectors

STRUCTURE = "structure"
Missing = Literal["learned", "zeros", "random"]
FeatureScale = Literal["unit", "raw"]


@dataclass(frozen=True)
class ModalityEmbeddings:
    """Modality vectors of entities: ``vectors[m]`` ``[..., e]``; ``present[m]`` bool ``[...]``, whether it counts."""

    vectors: dict[str, Tensor]
    present: dict[str, Tensor]

    def __getitem__(self, modality: str) -> Tensor:
        return self.vectors[modality]

    def __iter__(self) -> Iterator[str]:
        return iter(self.vectors)

    def rows(self, index: Tensor) -> "ModalityEmbeddings":
        """The bundles at ``index`` (any shape)."""
        return self.pick(dict.fromkeys(self.vectors, index))

    def pick(self, index: Mapping[str, Tensor]) -> "ModalityEmbeddings":
        """Bundles put together from several entities: modality m of the entity at ``index[m]``."""
        return ModalityEmbeddings(
            {m: take(vectors, index[m]) for m, vectors in self.vectors.items()},
            {m: present[index[m]] for m, present in self.present.items()},
        )

    def each(self, change: Callable[[Tensor], Tensor]) -> "ModalityEmbeddings":
        """The same bundles with every vector changed; the shape stays."""
        return ModalityEmbeddings({m: change(vectors) for m, vectors in self.vectors.items()}, self.present)

    def detach(self) -> "ModalityEmbeddings":
        """The same bundles, cut from the graph of gradients."""
        return self.each(Tensor.detach)


class EntityTable(nn.Module):
    """Structural vectors and projected features of all entities: ids in, ``ModalityEmbeddings`` out.

    ``structure`` ``[N, e]`` is learned. A feature vector of width d_m becomes W_m s_m f + b_m of width e; features are
    frozen unless ``fine_tune``. Encoders differ in how long their vectors are, and with them in what a step of W_m
    does, so s_m brings the mean norm of a modality to 1 (``scale: unit``); the papers' code takes features as they come
    (``raw``: s_m = 1). Where an entity lacks a modality, ``missing`` says what stands in: a ``learned`` vector shared
    by all, ``zeros`` (which fusions that weigh modalities leave out), or ``random`` Xavier features of its own (the
    papers' choice; an entity that comes after training has none and gets zeros).

    Structure dropout replaces the structural vector of that share of a batch's entities by one learned vector, which
    then also serves entities without any training triple (``seen`` is false) and entities that come after training.
    Without it, such new entities have a zero structural vector that does not count.
    """

    def __init__(
        self,
        structure: Tensor,
        features: Mapping[str, Features],
        seen: Tensor,
        missing: Missing = "learned",
        structure_dropout: float = 0.0,
        fine_tune: bool = False,
        scale: FeatureScale = "unit",
    ) -> None:
        super().__init__()
        width = structure.shape[1]
        self.missing, self.structure_dropout = missing, structure_dropout
        self.structure = nn.Parameter(structure)
        scales = {m: _unit_scale(f, structure.device) if scale == "unit" else None for m, f in features.items()}
        self.projections = nn.ModuleDict({m: _Projection(f.dimension, width, scales[m]) for m, f in features.items()})
        learned = (list(features) if missing == "learned" else []) + ([STRUCTURE] if structure_dropout else [])
        self.absent = nn.ParameterDict({m: nn.Parameter(random_vectors(width)) for m in learned})
        filled = {m: _filled(f, scales[m]) for m, f in features.items()} if missing == "random" else features
        self.features = _FeatureTables(filled, fine_tune)
        self.has_structure: Tensor
        self.register_buffer("has_structure", seen if structure_dropout else torch.ones_like(seen), persistent=False)

    def __len__(self) -> int:
        return len(self.structure)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Structure first, then the modalities that have features."""
        return (STRUCTURE, *self.projections)

    def modal(self, ids: Tensor | None = None) -> ModalityEmbeddings:
        """Modality vectors of the entities ``ids`` ``[B]``, by default of all N; ids should be distinct."""
        has_structure = _rows(self.has_structure, ids)
        if self.training and self.structure_dropout:
            kept = torch.rand(has_structure.shape, device=has_structure.device) >= self.structure_dropout
            has_structure = has_structure & kept
        vectors, present = {STRUCTURE: _rows(self.structure, ids)}, {STRUCTURE: torch.ones_like(has_structure)}
        if self.structure_dropout:
            vectors[STRUCTURE], _ = self._stand_in(STRUCTURE, vectors[STRUCTURE], has_structure)
        for m in self.projections:
            mask = _rows(self.features.mask(m), ids)
            vectors[m], present[m] = self._stand_in(m, self._projected(m, ids, mask), mask)
        return ModalityEmbeddings(vectors, present)

    def unseen(self, features: Mapping[str, Tensor]) -> ModalityEmbeddings:
        """Modality vectors of new entities from raw features ``[B, d_m]`` of at least one modality."""
        given = {m: projection(features[m]) for m, projection in self.projections.items() if m in features}
        like = next(iter(given.values()))
        vectors, present = {}, {}
        for m in self.modalities:
            here = torch.full(like.shape[:1], m in given, device=like.device)
            vectors[m], present[m] = self._stand_in(m, given.get(m, torch.zeros_like(like)), here)
        return ModalityEmbeddings(vectors, present)

    def _projected(self, modality: str, ids: Tensor | None, mask: Tensor) -> Tensor:
        """Projected features; where most entities lack the modality, those of the others alone, and zeros."""
        projection, table = self.projections[modality], self.features.vectors(modality)
        given = mask.nonzero().squeeze(1)
        if 2 * len(given) > len(mask):
            return projection(_rows(table, ids))
        projected = projection(table[given if ids is None else ids[given]])
        return projected.new_zeros(len(mask), projected.shape[1]).index_copy(0, given, projected)

    def _stand_in(self, modality: str, vectors: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors with the missing ones replaced, and which of them count."""
        if mask.all():  # spares a copy of all vectors, and two of their gradients
            return vectors, mask
        absent = self.absent[modality] if modality in self.absent else vectors.new_zeros(())
        counts = torch.ones_like(mask) if modality in self.absent else mask
        return torch.where(mask.unsqueeze(-1), vectors, absent), counts


class _Projection(nn.Linear):
    """W s f + b of features ``[..., d]``; the constant s is part of the model, so that new entities get the same."""

    scale: Tensor | None

    def __init__(self, dimension: int, width: int, scale: Tensor | None) -> None:
        super().__init__(dimension, width)
        self.register_buffer("scale", scale)

    def forward(self, features: Tensor) -> Tensor:
        return linear(features, self.weight if self.scale is None else self.weight * self.scale, self.bias)


class _FeatureTables(nn.Module):
    """Raw features and masks; state only if they are fine-tuned, since a checkpoint need not repeat frozen ones."""

    def __init__(self, features: Mapping[str, Features], fine_tune: bool) -> None:
        super().__init__()
        for m, table in features.items():
            if fine_tune:
                self.register_parameter(m, nn.Parameter(table.vectors.clone()))
            else:
                self.register_buffer(m, table.vectors, persistent=False)
            self.register_buffer(f"{m}_mask", table.mask, persistent=False)

    def vectors(self, modality: str) -> Tensor:
        """Features ``[N, d]``."""
        return getattr(self, modality)

    def mask(self, modality: str) -> Tensor:
        """Which entities have any, ``[N]``."""
        return getattr(self, f"{modality}_mask")


def _rows(table: Tensor, ids: Tensor | None) -> Tensor:
    """The table itself for all entities: a slice of all its rows would cost a second gradient of its size."""
    return table if ids is None else table[ids]


def _unit_scale(table: Features, device: torch.device) -> Tensor:
    """1 / the mean norm of all entities that have the modality; 1 where none has.

    All, whether or not they are in a train triple: it is a fact about the encoder, and features are no answers. On the
    meta device, where bundles are built before they get their tensors, no feature is read.
    """
    if device.type == "meta":
        return torch.empty(())
    length, count = torch.linalg.vector_norm(table.vectors.to(device), dim=1).sum(), table.mask.to(device).sum()
    return torch.where(length > 0, count / length, 1.0)


def _filled(table: Features, scale: Tensor | None) -> Features:
    """Features with Xavier-normal vectors where the modality is missing, drawn on the scale that is projected."""
    if table.mask.all():
        return table
    noise = nn.init.xavier_normal_(torch.empty_like(table.vectors))
    noise = noise if scale is None else noise / scale
    vectors = torch.where(table.mask.unsqueeze(-1), table.vectors, noise)
    return Features(vectors, torch.ones_like(table.mask))
