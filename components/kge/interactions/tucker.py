"""TuckER."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from mmkgc.components.kge.interactions.base import Dropout, Init, QueryInteraction, Side
from mmkgc.components.kge.interactions.batch_norm import BatchNorm
from mmkgc.components.kge.interactions.geometry import Dot


class TuckER(QueryInteraction):
    """W ×₁ h ×₂ r ×₃ t: all relations share one core tensor.

    Balažević et al. 2019, eq. 2, with their code's batch normalisation and dropout: of the known entity, of the
    relation's matrix W ×₂ r, and of the query point. With ``reciprocal: true``, as in their code, (?, r, t) is
    (t, r⁻¹, ?); otherwise the matrix is transposed; a triple then has a unique score only without batch normalisation.
    """

    def __init__(
        self,
        dimension: int,
        *,
        relation_dimension: Annotated[int | None, Field(gt=0, description="default: the entities' dimension")] = None,
        normalise: Annotated[bool, Field(description="batch normalisation")] = True,
        input_dropout: Dropout = 0.3,
        relation_dropout: Dropout = 0.4,
        hidden_dropout: Dropout = 0.5,
        init: Init = 0.1,
    ) -> None:
        super().__init__(dimension, init, relation_width=relation_dimension)
        self.geometry = Dot()
        self.core = nn.Parameter(nn.init.uniform_(torch.empty(self.relation_width, dimension, dimension), -init, init))
        norms = [BatchNorm(dimension) if normalise else nn.Identity() for _ in range(2)]
        self.input = nn.Sequential(norms[0], nn.Dropout(input_dropout))
        self.matrix = nn.Dropout(relation_dropout)
        self.output = nn.Sequential(norms[1], nn.Dropout(hidden_dropout))

    def incompatibility(self, reciprocal: bool) -> str | None:
        if reciprocal or isinstance(self.input[0], nn.Identity):
            return None
        return "batch normalisation scores a triple differently from each side; set model.reciprocal: true"

    def query(self, known: Tensor, relation: Tensor, side: Side) -> Tensor:
        lead = torch.broadcast_shapes(known.shape[:-1], relation.shape[:-1])
        rows, relations = (vectors.expand(*lead, -1).reshape(-1, vectors.shape[-1]) for vectors in (known, relation))
        matrix = self.matrix(torch.einsum("bk,kij->bij", relations, self.core))
        product = torch.einsum("bi,bij->bj" if side == "tail" else "bj,bij->bi", self.input(rows), matrix)
        return self.output(product).view(*lead, -1)
