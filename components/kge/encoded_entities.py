"""The entities of a batch, each encoded and fused once."""

from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import replace

import torch
from torch import Tensor

from mmkgc.components.kge.entity_encoders.base import EntityEncoder, ModalityEmbeddings
from mmkgc.components.kge.fusions.base import Fusion
from mmkgc.components.kge.kernels import lookup
from mmkgc.components.kge.kernels.rows import share, take


class EncodedEntities:
    """Modality embeddings and views of U distinct entities; ``ids``: tensors of ids of any number and shape.

    If ``ids`` is None or holds as many ids as there are entities, all N are encoded. ``without`` ``[b, 3]``: train
    triples whose messages a graph encoder leaves out. An id that is not among the U raises ``IndexError``.
    """

    def __init__(
        self,
        encoder: EntityEncoder,
        fusion: Fusion,
        ids: Iterable[Tensor] | None = None,
        without: Tensor | None = None,
    ) -> None:
        self.fusion = fusion
        self.position = None if ids is None else _positions(list(ids), len(encoder))
        chosen = None if self.position is None else self.position.ids
        self.modal = encoder.encode(chosen, without).each(share)
        self.views = {name: share(vectors) for name, vectors in fusion.views(self.modal).items()}

    @classmethod
    def restored(cls, fusion: Fusion, tensors: Mapping[str, Tensor]) -> "EncodedEntities":
        """All N entities, restored from the result of ``tensors`` without computation."""
        encoded = cls.__new__(cls)
        encoded.fusion, encoded.position = fusion, None
        parts: dict[str, dict[str, Tensor]] = {part: {} for part in ("vectors", "present", "views")}
        for key, tensor in tensors.items():
            part, _, name = key.partition(".")
            parts[part][name] = tensor
        everyone = torch.arange(len(next(iter(parts["present"].values()))))
        encoded.modal = ModalityEmbeddings(parts["vectors"], parts["present"], everyone)
        encoded.views = parts["vectors"] | parts["views"]
        return encoded

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name, each once, for storing in a file."""
        fused = {name: view for name, view in self.views.items() if name not in self.modal.vectors}
        parts = {"vectors": self.modal.vectors, "present": self.modal.present, "views": fused}
        return {f"{part}.{name}": tensor for part, held in parts.items() for name, tensor in held.items()}

    def __len__(self) -> int:
        return self.modal.shape[0]

    def detach(self) -> "EncodedEntities":
        """The same vectors, without gradients."""
        encoded = copy(self)
        encoded.modal = self.modal.detach()
        encoded.views = {name: view.detach() for name, view in self.views.items()}
        return encoded

    def replaced(self, ids: Tensor, modal: ModalityEmbeddings) -> "EncodedEntities":
        """The same entities, but those with ``ids`` ``[b]`` have other embeddings, ``modal`` ``[b, e]``."""
        rows, changed = self.index(ids), copy(self)
        views = self.fusion.views(modal)

        def put(old: Tensor, new: Tensor) -> Tensor:
            return old.index_copy(0, rows, new.to(old.dtype))

        changed.modal = replace(
            self.modal,
            vectors={m: put(vectors, modal.vectors[m]) for m, vectors in self.modal.vectors.items()},
            present={m: put(present, modal.present[m]) for m, present in self.modal.present.items()},
        )
        changed.views = {name: put(view, views[name]) for name, view in self.views.items()}
        return changed

    def index(self, ids: Tensor) -> Tensor:
        """Rows of the entities ``ids``; raises ``IndexError`` for one that was not encoded."""
        return ids if self.position is None else self.position.of(ids)

    def view(self, name: str, ids: Tensor, relations: Tensor) -> Tensor:
        """Vectors ``[..., e]`` of entities ``ids`` in triples with ``relations``, both ``[...]``."""
        if name in self.views:
            return take(self.views[name], self.index(ids))
        return self.fusion.views(self.modal.rows(self.index(ids)), relations)[name]

    def everyone(self, name: str, relation: Tensor) -> Tensor:
        """Vectors ``[U, e]`` of all encoded entities in triples with one ``relation[1]``."""
        if name in self.views:
            return self.views[name]
        return self.fusion.views(self.modal, relation.expand(len(self)))[name]


class _Positions:
    """As ``lookup.Positions``, by PyTorch's operations, which cost as much as there are entities."""

    def __init__(self, tensors: Iterable[Tensor], n: int) -> None:
        tensors = list(tensors)
        used = torch.zeros(n, dtype=torch.bool, device=tensors[0].device)
        for tensor in tensors:
            used[tensor.flatten()] = True
        self.ids = used.nonzero().squeeze(1)
        self._position = torch.where(used, used.cumsum(0) - 1, -1)

    def of(self, ids: Tensor) -> Tensor:
        rows = self._position[ids]
        if rows.device.type == "cpu" and not torch.compiler.is_compiling() and rows.numel() and rows.amin() < 0:
            raise lookup.lost(ids[rows < 0].unique().tolist())
        return rows


def _positions(tensors: list[Tensor], n_entities: int) -> lookup.Positions | _Positions | None:
    """The distinct ids of ``tensors``; None if it is as cheap to encode all N entities."""
    if sum(tensor.numel() for tensor in tensors) >= n_entities:
        return None
    kind = lookup.Positions if all(map(lookup.usable, tensors)) else _Positions
    return kind(tensors, n_entities)
