"""ConvE."""

from math import isqrt
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from mmkgc.components.kge.interactions.base import Dropout, Init, QueryInteraction, Side
from mmkgc.components.kge.interactions.batch_norm import BatchNorm
from mmkgc.components.kge.interactions.geometry import Dot


class ConvE(QueryInteraction):
    """f(vec(f([h̄; r̄] ∗ ω)) W) · t + b_t: a convolution over head and relation, reshaped to an image.

    Dettmers et al. 2018, eq. 1 and Fig. 1; f is ReLU, with batch normalisation and dropout before and after the
    convolution, as in their code. h̄ and r̄ are ``height`` rows of d / ``height`` numbers. The answer's bias b_t is the
    last coordinate of its vector, so an entity vector has d + 1 reals, and a feature's projection learns a bias too.
    Only tails can be queried, so relations must be reciprocal: (?, r, t) is (t, r⁻¹, ?).
    """

    def __init__(
        self,
        dimension: int,
        *,
        filters: Annotated[int, Field(gt=0, description="filters ω, each 3 × 3")] = 32,
        height: Annotated[int | None, Field(gt=0, description="rows of h̄; default: about √d, a divisor of d")] = None,
        input_dropout: Dropout = 0.2,
        map_dropout: Dropout = 0.2,
        hidden_dropout: Dropout = 0.3,
        init: Init = 0.1,
    ) -> None:
        super().__init__(dimension, init, entity_width=dimension + 1)
        self.geometry = Dot()
        self.height = height or max(n for n in range(1, isqrt(dimension) + 1) if dimension % n == 0)
        if dimension % self.height:
            raise ValueError(f"interaction 'conve' lays {dimension} numbers out in {self.height} rows; take a divisor")
        self.picture = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(input_dropout))
        self.convolution = nn.Conv2d(1, filters, 3, padding=1)
        self.maps = nn.Sequential(nn.BatchNorm2d(filters), nn.ReLU(), nn.Dropout2d(map_dropout), nn.Flatten())
        self.hidden = nn.Linear(filters * 2 * dimension, dimension)
        self.output = nn.Sequential(nn.Dropout(hidden_dropout), BatchNorm(dimension), nn.ReLU())

    def incompatibility(self, reciprocal: bool) -> str | None:
        return None if reciprocal else "it asks for tails alone; set model.reciprocal: true"

    def query(self, known: Tensor, relation: Tensor, side: Side) -> Tensor:
        """[x, 1] with the image's vector x ``[..., d]``; its product with [t, b_t] is the score."""
        known, relation = torch.broadcast_tensors(known[..., : self.dimension], relation)
        rows = torch.stack([vectors.reshape(-1, self.dimension) for vectors in (known, relation)], dim=1)
        picture = rows.reshape(len(rows), 1, 2 * self.height, -1)
        vector = self.output(self.hidden(self.maps(self.convolution(self.picture(picture)))))
        return torch.cat([vector, torch.ones_like(vector[:, :1])], dim=-1).view(*known.shape[:-1], -1)
