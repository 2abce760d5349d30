"""TransAE."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from mmkgc.components.kge.entity_encoders.base import STRUCTURE, ModalityEmbeddings
from mmkgc.components.kge.fusions.base import Fusion, Space, Term
from mmkgc.components.kge.tensors import total


class TransAE(Fusion):
    """An autoencoder of an entity's features, whose bottleneck is the entity's vector; there is no structural vector.

    Wang et al. 2019, whose interaction is TransE: features → ``hidden`` → e → ``hidden`` → features, with sigmoids in
    the paper and tanh here, since its outputs may be negative. The mean square error of the reconstruction, over the
    features that an entity has, is added with factor ``weight``. Missing features are zero, unless ``model.missing``
    replaces them. Set ``model.structure`` to false to avoid an unused table. (The AdaMF authors' port never calls the
    autoencoder; what it calls TransAE is TransE.)
    """

    def __init__(
        self,
        space: Space,
        *,
        hidden: Annotated[int, Field(gt=0, description="width of the layers between features and bottleneck")] = 256,
        weight: Annotated[float, Field(ge=0, description="weight of the reconstruction")] = 1.0,
    ) -> None:
        super().__init__(space)
        self.modalities = tuple(m for m in space.modalities if m != STRUCTURE)
        if not self.modalities:
            raise ValueError("this fusion needs visual or textual features; extract them too")
        self.unprojected, self.weight = frozenset(self.modalities), weight
        self.widths = [space.raw_widths[m] for m in self.modalities]
        raw = sum(self.widths)
        self.encoder = nn.Sequential(nn.Linear(raw, hidden), nn.Tanh(), nn.Linear(hidden, space.width))
        self.decoder = nn.Sequential(nn.Linear(space.width, hidden), nn.Tanh(), nn.Linear(hidden, raw))

    @property
    def terms(self) -> tuple[Term, ...]:
        return (Term("joint", "joint", tag="fused"),)

    def fuse(self, modal: ModalityEmbeddings, relations: Tensor | None) -> dict[str, Tensor]:
        return {"joint": self.encoder(self._given(modal))}

    def auxiliary(self, modal: ModalityEmbeddings) -> dict[str, Tensor]:
        given = self._given(modal)
        errors = (self.decoder(self.encoder(given)) - given).square().split(self.widths, dim=-1)
        counted = [error * modal.present[m].unsqueeze(-1) for error, m in zip(errors, self.modalities, strict=True)]
        there = total(modal.present[m].sum() * width for m, width in zip(self.modalities, self.widths, strict=True))
        return {"reconstruction": self.weight * total(error.sum() for error in counted) / there.clamp(min=1)}

    def _given(self, modal: ModalityEmbeddings) -> Tensor:
        """The concatenated features of all modalities ``[..., Σ d_m]``."""
        return torch.cat([modal.counted(m) for m in self.modalities], dim=-1)
