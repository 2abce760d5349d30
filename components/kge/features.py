"""Frozen feature vectors of a modality, as the model library receives them."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Features:
    """Vectors of one modality in vocabulary order.

    ``vectors`` float32 ``[N, d]``; ``mask`` bool ``[N]``, false where the entity lacks the modality: its row is zero
    and never used.
    """

    vectors: Tensor
    mask: Tensor

    @property
    def dimension(self) -> int:
        """Width d of the vectors."""
        return self.vectors.shape[1]

    def pooled(self) -> "Features":
        """These vectors themselves; each entity already has a single one."""
        return self


@dataclass(frozen=True)
class TokenFeatures:
    """Token sequences of one modality in vocabulary order: image patches or words.

    ``vectors`` float32 ``[N, L, d]``; ``mask`` bool ``[N, L]``, false at padding, and in a whole row if the entity
    lacks the modality.
    """

    vectors: Tensor
    mask: Tensor

    @property
    def dimension(self) -> int:
        """Width d of the vectors."""
        return self.vectors.shape[2]

    def pooled(self) -> Features:
        """The mean ``[N, d]`` of each entity's tokens."""
        weights = self.mask.to(self.vectors).unsqueeze(-1)
        count = weights.sum(1).clamp(min=1)
        return Features((self.vectors * weights).sum(1) / count, self.mask.any(1))
