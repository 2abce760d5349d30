"""OTE."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from mmkgc.components.kge.interactions.base import Init, ProjectionInteraction, Side
from mmkgc.components.kge.interactions.geometry import Geometry
from mmkgc.components.kge.tensors import gathered, total

Group = Annotated[int | None, Field(gt=0, description="m, coordinates rotated together; default: ≤ 20, a divisor of d")]


class OTE(ProjectionInteraction):
    """−½ [D(f(h), t) + D(f⁻¹(t), h)]: a relation rotates and scales groups of m coordinates by an orthogonal matrix.

    Tang et al. 2020: f(h)_g = (h_g Q_g) ∘ exp(s_g), D sums the Euclidean distances of the groups, and both directions
    are used, since they differ by the scale. Q is the Gram–Schmidt orthogonalisation of a learned m × m matrix, so
    QᵀQ = 1. f⁻¹(t)_g = (t_g ∘ exp(−s_g)) Qᵀ_g is the inverse of f (the paper scales after the inverse rotation). The
    matrix is the identity plus M / ``init``: relations start as different rotations, as in RotatE, and M = 0, where
    Gram–Schmidt would fail, gives the identity.
    """

    def __init__(self, dimension: int, *, group: Group = None, init: Init = 0.07) -> None:
        self.group = group or max(n for n in range(1, min(20, dimension) + 1) if dimension % n == 0)
        if dimension % self.group:
            raise ValueError(f"interaction 'ote' turns groups of {self.group} of {dimension} numbers; take a divisor")
        super().__init__(dimension, init, relation_width=dimension * (self.group + 1))
        self.geometry = Groups(self.group, 0.5)

    def query(self, known: Tensor, relation: Tensor, side: Side) -> Tensor:
        """[f(h), h] of a head, [t, f⁻¹(t)] of a tail."""
        return self._both(known, relation, side)

    def key(self, candidate: Tensor, relation: Tensor, side: Side) -> Tensor:
        return self._both(candidate, relation, "head" if side == "tail" else "tail")

    def forth(self, head: Tensor, relation: Tensor) -> Tensor:
        """f(h) ``[..., d]``, the predicted position of the tail."""
        turned = torch.einsum("...gi,...gij->...gj", self._groups(head), self.rotations(relation)).flatten(-2)
        return turned * self._scales(relation).exp()

    def back(self, tail: Tensor, relation: Tensor) -> Tensor:
        """f⁻¹(t) ``[..., d]``, the predicted position of the head."""
        scaled = self._groups(tail * (-self._scales(relation)).exp())
        return torch.einsum("...gj,...gij->...gi", scaled, self.rotations(relation)).flatten(-2)

    def rotations(self, relation: Tensor) -> Tensor:
        """Q ``[..., d / m, m, m]``, computed once per distinct relation."""
        flat = relation.reshape(-1, relation.shape[-1])[:, : -self.dimension]
        first, row = _firsts(flat)
        matrices = flat[first].view(len(first), -1, self.group, self.group) / self.init
        q, r = torch.linalg.qr(matrices + torch.eye(self.group, dtype=flat.dtype, device=flat.device))
        q = q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)  # as in Gram–Schmidt, where r is positive
        return q[row].view(*relation.shape[:-1], *q.shape[1:])

    def _both(self, vectors: Tensor, relation: Tensor, side: Side) -> Tensor:
        pair = (self.forth(vectors, relation), vectors) if side == "tail" else (vectors, self.back(vectors, relation))
        return torch.cat(torch.broadcast_tensors(*pair), dim=-1)

    def _groups(self, vectors: Tensor) -> Tensor:
        return vectors.unflatten(-1, (-1, self.group))

    def _scales(self, relation: Tensor) -> Tensor:
        return relation[..., -self.dimension :]


class Groups(Geometry):
    """−weight · Σ_g ‖q_g − c_g‖₂ over groups of m coordinates."""

    def __init__(self, size: int, weight: float = 1.0) -> None:
        self.size, self.weight = size, weight

    def pairs(self, query: Tensor, candidate: Tensor) -> Tensor:
        gaps = (query - candidate).unflatten(-1, (-1, self.size))
        return -self.weight * torch.linalg.vector_norm(gaps, dim=-1).sum(-1)

    aligned = pairs  # no kernel compares groups

    def candidates(self, query: Tensor, table: Tensor, index: Tensor) -> Tensor:
        return gathered(self.pairs, query, table, index)

    def everyone(self, query: Tensor, table: Tensor) -> Tensor:
        groups = zip(query.split(self.size, dim=-1), table.split(self.size, dim=-1), strict=True)
        exact = "donot_use_mm_for_euclid_dist"
        return -self.weight * total(torch.cdist(ours, theirs, compute_mode=exact) for ours, theirs in groups)


def _firsts(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Positions of the distinct ``rows[B, r]``, and for each row the index of its distinct row."""
    _, row = torch.unique(rows.detach(), dim=0, return_inverse=True)
    first = torch.zeros(int(row.max()) + 1 if len(row) else 0, dtype=torch.long, device=rows.device)
    return first.scatter(0, row, torch.arange(len(row), device=rows.device)), row
