"""Several small models in one."""

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from mmkgc.components.kge.entity_encoders.base import ModalityEmbeddings
from mmkgc.components.kge.fusions.base import Space, Term
from mmkgc.components.kge.fusions.sum import Sum


class Ensemble(Sum):
    """``count`` models of dimension d / ``count`` in one: each has a loss of its own, and the mean score is ranked.

    As Xu et al. 2021, "Multiple run ensemble learning with low-dimensional knowledge graph embeddings": several runs of
    a small model, together, are better than one run of a model with as many parameters. Here they are trained at once,
    on the same batches, and saved as one model. A part is a block of coordinates of the sum of the modality vectors,
    with its own interaction and its own relation vectors, so parts share nothing but the choice of the entities that
    dropout of a modality leaves out. The mean of scores ranks as the mean of log-probabilities does.
    """

    separate = True

    def __init__(
        self, space: Space, *, count: Annotated[int, Field(gt=0, description="models, a divisor of the dimension")] = 2
    ) -> None:
        super().__init__(space)
        assert space.interaction is not None
        assert space.make_interaction is not None
        dimension, rest = divmod(space.interaction.dimension, count)
        if rest:
            raise ValueError(f"{count} models cannot share dimension {space.interaction.dimension}; take a multiple")
        self.parts = nn.ModuleList(space.make_interaction(dimension) for _ in range(count))
        if sum(part.entity_width for part in self.parts) != space.width:
            raise ValueError("this interaction's vectors cannot be divided into those of smaller ones")
        if space.contexts:
            raise ValueError("this entity encoder needs the relation vectors of one model; take fusion 'sum'")

    @property
    def terms(self) -> tuple[Term, ...]:
        weight = 1 / len(self.parts)
        return tuple(
            Term(name, name, relation=name, weight=weight, tag="fused", interaction=part)
            for name, part in zip(self._names(), self.parts, strict=True)
        )

    def fuse(self, modal: ModalityEmbeddings, relations: Tensor | None) -> dict[str, Tensor]:
        joint = super().fuse(modal, relations)["joint"]
        return dict(zip(self._names(), joint.chunk(len(self.parts), dim=-1), strict=True))

    def _names(self) -> list[str]:
        return [f"part {number}" for number in range(1, len(self.parts) + 1)]
