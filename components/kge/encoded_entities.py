"""The entities of a batch, each projected and fused once."""

from collections.abc import Iterable, Mapping
from copy import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmkgc.components.kge.entity_encoders.table import ModalityEmbeddings
from mmkgc.components.kge.kernels.rows import share, take
from mmkgc.components.kge.negatives.base import EntityNegatives, GeneratedNegatives, NegativeBlock

if TYPE_CHECKING:
    from mmkgc.components.kge.model import Model


class EncodedEntities:
    """Modality vectors and views of U distinct entities; ``ids``: those that are needed, in any number and shape.

    Where as many ids as entities are asked for (or ``ids`` is None), the pool holds all N.
    """

    def __init__(self, model: "Model", ids: Iterable[Tensor] | None = None) -> None:
        self.fusion = model.fusion
        chosen, self.position = _distinct(ids, len(model.entities)) if ids is not None else (None, None)
        self.modal = model.entities.modal(chosen).each(share)
        self.views = {name: share(vectors) for name, vectors in self.fusion.views(self.modal).items()}
        self._virtual: dict[
            int, tuple[GeneratedNegatives, dict[str, Tensor]]
        ] = {}  # by identity: several blocks may share one

    @classmethod
    def restored(cls, model: "Model", tensors: Mapping[str, Tensor]) -> "EncodedEntities":
        """The pool of all N entities from what ``tensors`` gave, without computing anything."""
        encoded = cls.__new__(cls)
        encoded.fusion, encoded.position = model.fusion, None
        parts: dict[str, dict[str, Tensor]] = {part: {} for part in ("vectors", "present", "views")}
        for key, tensor in tensors.items():
            part, _, name = key.partition(".")
            parts[part][name] = tensor
        encoded.modal = ModalityEmbeddings(parts["vectors"], parts["present"])
        encoded.views, encoded._virtual = parts["vectors"] | parts["views"], {}
        return encoded

    def tensors(self) -> dict[str, Tensor]:
        """What the pool holds, by name, each tensor once: to be kept in a file."""
        fused = {name: view for name, view in self.views.items() if name not in self.modal.vectors}
        parts = {"vectors": self.modal.vectors, "present": self.modal.present, "views": fused}
        return {f"{part}.{name}": tensor for part, held in parts.items() for name, tensor in held.items()}

    def detach(self) -> "EncodedEntities":
        """The same vectors, cut from the graph of gradients."""
        encoded = copy(self)
        encoded.modal = self.modal.detach()
        encoded.views, encoded._virtual = {name: view.detach() for name, view in self.views.items()}, {}
        return encoded

    def index(self, ids: Tensor) -> Tensor:
        """Rows of the pool at which the entities ``ids`` lie."""
        return ids if self.position is None else self.position[ids]

    def view(self, name: str, ids: Tensor, relations: Tensor) -> Tensor:
        """Vectors ``[..., e]`` of entities ``ids`` in triples with ``relations``, both ``[...]``."""
        if name in self.views:
            return take(self.views[name], self.index(ids))
        return self.fusion.views(self.modal.rows(self.index(ids)), relations)[name]

    def everyone(self, name: str, relation: Tensor) -> Tensor:
        """Vectors ``[U, e]`` of all entities of the pool in triples with one ``relation[1]``."""
        if name in self.views:
            return self.views[name]
        return self.fusion.views(self.modal, relation.expand(len(self.modal["structure"])))[name]

    def candidates(self, name: str, real: EntityNegatives, relations: Tensor) -> tuple[Tensor, Tensor]:
        """A table ``[U, e]`` and rows of it ``[b, K]``: the view of ``real`` in triples with ``relations[b]``."""
        if name in self.views and not real.parts:
            return self.views[name], self.index(real.ids)
        if name in self.modal.vectors:
            return self.modal[name], self.index(real.of(name))
        mixed = self.modal.pick({m: self.index(real.of(m)) for m in self.modal.vectors})
        vectors = self.fusion.views(mixed, relations.unsqueeze(1))[name]
        return vectors.flatten(0, 1), torch.arange(real.ids.numel(), device=real.ids.device).view(real.ids.shape)

    def stand_ins(self, name: str, others: EntityNegatives | GeneratedNegatives, relations: Tensor) -> Tensor:
        """Vectors ``[b, K, e]`` of the view of ``others`` in triples with ``relations[b]``."""
        if isinstance(others, EntityNegatives):
            return take(*self.candidates(name, others, relations))
        if name in others.modal.vectors:
            return others.modal[name]
        if id(others) not in self._virtual:
            self._virtual[id(others)] = others, self.fusion.views(others.modal, relations.unsqueeze(1))
        return self._virtual[id(others)][1][name]


def ids_of(triples: Tensor, blocks: Iterable[NegativeBlock]) -> Iterable[Tensor]:
    """Every entity id of a batch: its positives' and its real negatives'."""
    yield triples[:, 0]
    yield triples[:, 2]
    for block in blocks:
        for side in (block.head, block.tail):
            if isinstance(side, EntityNegatives):
                yield side.ids
                yield from side.parts.values()


def _distinct(ids: Iterable[Tensor], n_entities: int) -> tuple[Tensor | None, Tensor | None]:
    """The distinct ids, and the position of each entity among them; (None, None) where all N are as cheap."""
    tensors = list(ids)
    if sum(tensor.numel() for tensor in tensors) >= n_entities:
        return None, None
    used = torch.zeros(n_entities, dtype=torch.bool, device=tensors[0].device)
    for tensor in tensors:
        used[tensor.flatten()] = True
    return used.nonzero().squeeze(1), used.cumsum(0) - 1
