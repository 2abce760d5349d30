"""Graph context."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from mmkgc.components.kge.entity_encoders.base import STRUCTURE, ModalityEmbeddings
from mmkgc.components.kge.entity_encoders.graph_encoder import GraphEncoder
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL
from mmkgc.components.kge.interactions.base import Interaction
from mmkgc.components.kge.interactions.ote import OTE
from mmkgc.components.kge.kernels.rows import share, take


class GraphContext(GraphEncoder):
    """As ``table``, with positions of an entity as head and as tail, predicted from its train triples.

    The context of GC-OTE (Tang et al. 2020): ``tail_context`` is the mean of f_r'(h') over the triples (h', r', e) and
    of e itself, ``head_context`` that of f⁻¹_r'(t') over (e, r', t') and of e itself, with the model's own relation
    vectors. Triples of the training batch are excluded, since the model predicts them (the released code includes
    them). New entities have no triples; their contexts are their own vectors.
    """

    contexts = ("head_context", "tail_context")

    @classmethod
    def incompatibility(cls, structure: bool, interaction: Interaction | None = None) -> str | None:
        if not structure:
            return "a context is made of structural vectors; set model.structure: true"
        if interaction is not None and not isinstance(interaction, OTE):
            return "a context is made by interaction 'ote', both ways; take that"
        return None

    def attach(self, interaction: Interaction, relations: nn.ParameterDict, name: str) -> None:
        self._moves = (interaction, relations, name)  # in a tuple, to avoid registering parts of the model

    def passed(self, everyone: ModalityEmbeddings, triples: Tensor, ids: Tensor | None) -> ModalityEmbeddings:
        structure = share(everyone[STRUCTURE])
        wanted = torch.zeros(len(self), dtype=torch.bool, device=triples.device)
        wanted[slice(None) if ids is None else ids] = True
        ote = self._moves[0]
        assert isinstance(ote, OTE)
        found = {
            "head_context": self._mean(structure, triples[wanted[triples[:, HEAD]]], HEAD, TAIL, ote.back),
            "tail_context": self._mean(structure, triples[wanted[triples[:, TAIL]]], TAIL, HEAD, ote.forth),
        }
        return _with(replace(everyone, vectors=everyone.vectors | {STRUCTURE: structure}), found)

    def encode_new(self, features: Mapping[str, Tensor]) -> ModalityEmbeddings:
        new = self.table.encode_new(features)
        return _with(new, dict.fromkeys(self.contexts, new[STRUCTURE]))

    def _mean(
        self, structure: Tensor, triples: Tensor, ours: int, theirs: int, move: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        """Mean ``[N, e]`` of an entity's own vector and of its neighbours', moved by the relations between them."""
        _, relations, name = self._moves
        triples = triples[triples[:, RELATION].argsort(stable=True)]
        sizes = torch.bincount(triples[:, RELATION], minlength=self.n_relations).tolist()
        table = relations[name]
        moved = [
            move(take(structure, rows[:, theirs]), table[relation])
            for relation, rows in enumerate(triples.split(sizes))
            if len(rows)
        ]
        if not moved:
            return structure
        count = torch.bincount(triples[:, ours], minlength=len(self)) + 1
        return structure.index_add(0, triples[:, ours], torch.cat(moved).to(structure)) / count.unsqueeze(1)


def _with(modal: ModalityEmbeddings, contexts: dict[str, Tensor]) -> ModalityEmbeddings:
    """The same entities with further vectors."""
    there = dict.fromkeys(contexts, torch.ones_like(modal.present[STRUCTURE]))
    return replace(modal, vectors=modal.vectors | contexts, present=modal.present | there)
