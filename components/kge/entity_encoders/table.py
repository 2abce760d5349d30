"""The default encoder: a table of structural vectors and linear projections of the features."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmkgc.components.kge.entity_encoders.base import (
    STRUCTURE,
    EntityData,
    EntityEncoder,
    ModalityEmbeddings,
)
from mmkgc.components.kge.features import Features
from mmkgc.components.kge.kernels import rows
from mmkgc.components.kge.kernels.projection import project
from mmkgc.components.kge.tensors import random_vectors, total


class Table(EntityEncoder):
    """Each entity has a learned structural vector; its features are projected linearly, with one map per modality.

    ``structure`` ``[N, e]`` is learned. A feature vector of width d_m becomes W_m s_m f + b_m of width e; features are
    frozen unless ``fine_tune``. The norms of vectors differ among encoders, and with them the effect of a step of W_m,
    so s_m scales the mean norm of a modality to 1 (``feature_scale: unit``); the papers' code does not scale features
    (``raw``: s_m = 1). If an entity lacks a modality, ``missing`` determines the replacement: a ``learned`` vector
    shared by all (left out where every entity of the graph has the modality, so that it was never learned), ``zeros``
    (which fusions that weigh modalities leave out), or ``random`` Xavier features of its own
    (the papers' choice; a new entity has none and gets zeros).

    Structure dropout replaces the structural vector of that share of a batch's entities by one learned vector, which
    is then also used for entities without train triples (``seen`` is false) and for new entities. With
    ``missing_structure: predicted``, Σ_m V_m s_m f of the features that the entity has is added to it, so that the maps
    W_m need not serve both entities with and entities without structure. Without dropout, entities without train
    triples keep their initial structural vector, and new ones have a zero one that does not count. Modality dropout
    does the same to the features of each modality, so that a new entity may be given by any of them: without it, a
    modality that all training entities have is never missed, or one that only a certain kind of entities has is a mark
    of that kind.
    """

    def __init__(self, data: EntityData) -> None:
        super().__init__()
        self.width, self.structure_dropout = data.width, data.structure_dropout if data.structure is not None else 0.0
        self.structure = nn.Parameter(data.structure) if data.structure is not None else None
        self.has_table = data.structure is not None
        self.modality_dropout = data.modality_dropout
        features = {m: table.pooled() for m, table in data.features.items()}
        unit = data.feature_scale == "unit"
        scales = {m: _unit_scale(f) if unit else None for m, f in features.items()}
        self.widths = {m: f.dimension if m in data.unprojected else data.width for m, f in features.items()}
        self.projections = nn.ModuleDict(
            {
                m: _Scale(scales[m]) if m in data.unprojected else _Projection(f.dimension, data.width, scales[m])
                for m, f in features.items()
            }
        )
        learned = list(features) if data.missing == "learned" else []
        learned += [STRUCTURE] if self.structure_dropout else []
        self.absent = nn.ParameterDict({m: nn.Parameter(random_vectors(self._width(m))) for m in learned})
        predicts = self.structure_dropout and data.missing_structure == "predicted"
        self.predictions = nn.ModuleDict(
            {m: _Prediction(f.dimension, data.width, scales[m]) for m, f in features.items()} if predicts else {}
        )
        self.fills = data.missing == "random"
        filled = {m: _filled(f, scales[m]) for m, f in features.items()} if self.fills else features
        self.features = _FeatureTables(filled, data.fine_tune)
        self.has_structure: Tensor
        seen = data.seen
        self.register_buffer(
            "has_structure", seen if self.structure_dropout else torch.ones_like(seen), persistent=False
        )

    def __len__(self) -> int:
        return len(self.has_structure)

    @property
    def modalities(self) -> tuple[str, ...]:
        return (*((STRUCTURE,) if self.has_table else ()), *self.features.modalities)

    def encode(self, ids: Tensor | None = None, without: Tensor | None = None) -> ModalityEmbeddings:
        has_structure = self._kept(_rows(self.has_structure, ids), self.structure_dropout)
        given = {}
        for m in self.features.modalities:
            own = _rows(self.features.mask(m), ids)
            given[m] = self._kept(torch.ones_like(own) if self.fills else own, self.modality_dropout)
        vectors, present = self._structural(ids, has_structure, given)
        for m, mask in given.items():
            vectors[m], present[m] = self._stand_in(m, self._projected(m, ids, mask), mask)
        if ids is None:  # of a batch, nothing may cost as much as there are entities
            ids = torch.arange(len(self), device=self.has_structure.device)
        return ModalityEmbeddings(vectors, present, ids)

    def encode_new(self, features: Mapping[str, Tensor]) -> ModalityEmbeddings:
        given = {m: self._project(m, features[m]) for m in self.features.modalities if m in features}
        like = next(iter(given.values()))
        vectors, present = {}, {}
        for m in self.modalities:
            here = torch.full(like.shape[:1], m in given, device=like.device)
            blank = like.new_zeros(*like.shape[:1], self._width(m))
            vectors[m], present[m] = self._stand_in(m, given.get(m, blank), here, self._lacked(m))
        for m, predict in self.predictions.items():
            if m in features:
                vectors[STRUCTURE] = vectors[STRUCTURE] + predict(features[m])
        return ModalityEmbeddings(vectors, present)

    def raw(self, modality: str) -> Features:
        return Features(self.features.vectors(modality), self.features.mask(modality))

    def structural_table(self) -> Tensor | None:
        return self.structure

    def _structural(
        self, ids: Tensor | None, has_structure: Tensor, given: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Structural vectors and whether they count; without structure neither. ``given``: masks of the features."""
        if not self.has_table:
            return {}, {}
        vectors, present = self._structure(ids), torch.ones_like(has_structure)
        if self.structure_dropout:
            vectors, _ = self._stand_in(STRUCTURE, vectors, has_structure)
        if self.predictions:
            lacking = (~has_structure).nonzero().squeeze(1)
            own = lacking if ids is None else ids[lacking]
            predicted = total(
                predict(_rows(self.features.vectors(m), own)) * given[m][lacking].unsqueeze(1)
                for m, predict in self.predictions.items()
            )
            vectors = vectors.index_add(0, lacking, predicted.to(vectors))
        return {STRUCTURE: vectors}, {STRUCTURE: present}

    def _structure(self, ids: Tensor | None) -> Tensor:
        """The structural vectors of ``ids`` ``[B]``, by default of all N."""
        assert self.structure is not None
        return self._rows(self.structure, ids)

    def _kept(self, mask: Tensor, dropout: float) -> Tensor:
        """The mask; in training without a share ``dropout`` of its entities, drawn anew for each batch."""
        if not (self.training and dropout):
            return mask
        return mask & (torch.rand(mask.shape, device=mask.device) >= dropout)

    def _projected(self, modality: str, ids: Tensor | None, mask: Tensor) -> Tensor:
        """Projected features; if most entities lack the modality, only the others are projected, the rest are zero."""
        table = self.features.vectors(modality)
        given = mask.nonzero().squeeze(1)
        if 2 * len(given) > len(mask):
            return self._project(modality, self._rows(table, ids))
        projected = self._project(modality, self._rows(table, given if ids is None else ids[given]))
        return projected.new_zeros(len(mask), projected.shape[1]).index_copy(0, given, projected)

    def _project(self, modality: str, features: Tensor) -> Tensor:
        """Projected features; only scaled if the fusion projects them."""
        return self.projections[modality](features)

    def _rows(self, table: Tensor, ids: Tensor | None) -> Tensor:
        """Rows ``ids`` of a table, whose gradient is sparse if training wants it so."""
        return rows.sparsely(table, ids) if self.sparse and ids is not None else _rows(table, ids)

    def _width(self, modality: str) -> int:
        return self.widths.get(modality, self.width)

    def _stand_in(self, modality: str, vectors: Tensor, mask: Tensor, lacked: bool = True) -> tuple[Tensor, Tensor]:
        """Vectors with the missing ones replaced, and a mask of those that count; ``lacked`` as of ``_lacked``."""
        if mask.all():  # saves a copy of all vectors and two of their gradients
            return vectors, mask
        learned = modality in self.absent and lacked
        absent = self.absent[modality] if learned else vectors.new_zeros(())
        counts = torch.ones_like(mask) if learned else mask
        return torch.where(mask.unsqueeze(-1), vectors, absent), counts

    def _lacked(self, modality: str) -> bool:
        """Whether training met entities without the modality; if not, their vector has never left its random start."""
        return modality == STRUCTURE or self.modality_dropout > 0 or not bool(self.features.mask(modality).all())


class _Projection(nn.Linear):
    """W s f + b of features ``[..., d]``; the constant s is part of the model, so that new entities get the same."""

    scale: Tensor | None

    def __init__(self, dimension: int, width: int, scale: Tensor | None, bias: bool = True) -> None:
        super().__init__(dimension, width, bias)
        self.register_buffer("scale", scale)

    def forward(self, features: Tensor) -> Tensor:
        return project(features, self.weight if self.scale is None else self.weight * self.scale, self.bias)


class _Prediction(_Projection):
    """V s f of features ``[..., d]``, zero before training."""

    def __init__(self, dimension: int, width: int, scale: Tensor | None) -> None:
        super().__init__(dimension, width, None if scale is None else scale.clone(), bias=False)
        nn.init.zeros_(self.weight)


class _Scale(nn.Module):
    """s f of features ``[..., d]`` that the fusion projects, with the same s as in a projection."""

    scale: Tensor | None

    def __init__(self, scale: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("scale", scale)

    def forward(self, features: Tensor) -> Tensor:
        return features if self.scale is None else features * self.scale


class _FeatureTables(nn.Module):
    """Raw features and masks; part of the state only if fine-tuned, so that checkpoints do not store frozen ones."""

    def __init__(self, features: Mapping[str, Features], fine_tune: bool) -> None:
        super().__init__()
        self._modalities = tuple(features)
        for m, table in features.items():
            if fine_tune:
                self.register_parameter(m, nn.Parameter(table.vectors.clone()))
            else:
                self.register_buffer(m, table.vectors, persistent=False)
            self.register_buffer(f"{m}_mask", table.mask, persistent=False)

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities in the given order."""
        return self._modalities

    def vectors(self, modality: str) -> Tensor:
        """Features ``[N, d]``."""
        return getattr(self, modality)

    def mask(self, modality: str) -> Tensor:
        """Mask ``[N]`` of the entities that have features."""
        return getattr(self, f"{modality}_mask")


def _rows(table: Tensor, ids: Tensor | None) -> Tensor:
    """Rows ``ids`` of the table; for all entities the table itself, since a slice would need a second gradient."""
    return table if ids is None else table.index_select(0, ids)


def _unit_scale(table: Features) -> Tensor:
    """1 / the mean norm of all entities that have the modality; 1 where none has.

    Entities without train triples are included: the scale is a property of the feature encoder and leaks no answers. On
    the meta device, where bundles are built before they get their tensors, no feature is read.
    """
    if torch.get_default_device().type == "meta":
        return torch.empty(())
    length, count = torch.linalg.vector_norm(table.vectors, dim=1).sum(), table.mask.sum()
    return torch.where(length > 0, count / length, 1.0)


def _filled(table: Features, scale: Tensor | None) -> Features:
    """Features with Xavier-normal vectors where the modality is missing, drawn on the scale that is projected."""
    if torch.get_default_device().type == "meta" or table.mask.all():
        return table
    noise = nn.init.xavier_normal_(torch.empty_like(table.vectors))
    noise = noise if scale is None else noise / scale
    vectors = torch.where(table.mask.unsqueeze(-1), table.vectors, noise)
    return Features(vectors, table.mask)
