"""GC-OTE."""

from typing import Annotated

from pydantic import Field
from torch import Tensor

from mmkgc.components.kge.entity_encoders.base import STRUCTURE, EntityEncoder
from mmkgc.components.kge.fusions.base import Fusion, Space, Term
from mmkgc.components.kge.interactions.base import ProjectionInteraction, Side
from mmkgc.components.kge.interactions.ote import OTE, Groups


class GCOTE(Fusion):
    """Structure only, compared with the other entity and with its graph context.

    Tang et al. 2020: −¼ [D(f⁻¹(t), h) + D(f⁻¹(t), h_c) + D(f(h), t) + D(f(h), t_c)], h_c and t_c being the contexts of
    encoder ``graph-context``. It needs that encoder and interaction ``ote``. As in the paper, OTE is trained first, for
    the share ``pretrain`` of the epochs, and GC-OTE goes on with its vectors; only epochs of GC-OTE are selected. The
    paper's second stage has a tenth of the learning rate (``optimizer.schedule: step``) and a new optimizer; here the
    optimizer keeps its moments.
    """

    reads_features = False

    def __init__(
        self,
        space: Space,
        *,
        pretrain: Annotated[
            float, Field(ge=0, lt=1, description="share of epochs in which OTE alone is trained")
        ] = 0.0,
    ) -> None:
        super().__init__(space)
        self.pretrain, self.in_context = pretrain, True
        self.use()
        if not isinstance(space.interaction, OTE):
            raise ValueError("fusion 'gc-ote' needs interaction 'ote'; set model.interaction: ote")
        if set(space.contexts) != {"head_context", "tail_context"}:
            raise ValueError("fusion 'gc-ote' needs the graph around entities; set model.encoder: graph-context")
        self.of_head, self.of_tail = _Half(space.interaction, "head"), _Half(space.interaction, "tail")

    def begin_epoch(self, epoch: int, epochs: int, entities: EntityEncoder) -> None:
        self.in_context = self.selectable(epoch, epochs)

    def selectable(self, epoch: int, epochs: int) -> bool:
        """Whether the second stage has begun."""
        return epoch >= int(self.pretrain * epochs)

    @property
    def terms(self) -> tuple[Term, ...]:
        if not self.in_context:
            return (Term(STRUCTURE, STRUCTURE),)
        return (
            Term(STRUCTURE, STRUCTURE, weight=0.5),
            Term("head_context", STRUCTURE, weight=0.25, tag="fused", interaction=self.of_head),
            Term(STRUCTURE, "tail_context", weight=0.25, tag="fused", interaction=self.of_tail),
        )


class _Half(ProjectionInteraction):
    """−D(f(h), t) towards the tail, −D(f⁻¹(t), h) towards the head: one direction of OTE."""

    def __init__(self, ote: OTE, towards: Side) -> None:
        super().__init__(ote.dimension, ote.init, relation_width=ote.relation_width)
        self.ote, self.towards, self.geometry = ote, towards, Groups(ote.group)

    def query(self, known: Tensor, relation: Tensor, side: Side) -> Tensor:
        return self._moved(known, relation, "head" if side == "tail" else "tail")

    def key(self, candidate: Tensor, relation: Tensor, side: Side) -> Tensor:
        return self._moved(candidate, relation, side)

    def _moved(self, vectors: Tensor, relation: Tensor, role: Side) -> Tensor:
        """Transformed vectors of heads or tails; those of side ``towards`` are unchanged."""
        if role == self.towards:
            return vectors
        return self.ote.forth(vectors, relation) if role == "head" else self.ote.back(vectors, relation)
