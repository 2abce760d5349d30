"""The table with its structural vectors divided among processes, for more entities than one machine holds."""

from typing import Any

import torch
from torch import Tensor, nn

from mmkgc.components.kge.entity_encoders.base import EntityData
from mmkgc.components.kge.entity_encoders.table import Table
from mmkgc.components.kge.interactions.base import Interaction
from mmkgc.components.kge.sharded_rows import MULTIPLE, ShardedRows


class Sharded(Table):
    """As ``table``; several processes (torchrun) hold a part of the structural vectors each, by TorchRec.

    In one process, and in a saved model, it is ``table``: the same parameters and the same scores. While it is
    ``distributed``, each process must call ``encode`` as often as the others; the state holds the vectors of its own
    rows. Encoding all entities, as for the development MRR, collects the whole table in every process.
    """

    def __init__(self, data: EntityData) -> None:
        super().__init__(data)
        self.shards: ShardedRows | None = None

    @classmethod
    def incompatibility(cls, structure: bool, interaction: Interaction | None = None) -> str | None:
        if not structure:
            return "it divides the structural vectors; set model.structure: true"
        if interaction is not None and interaction.entity_width % MULTIPLE:
            return f"an entity has {interaction.entity_width} reals, and they must be a multiple of {MULTIPLE}"
        return None

    def distribute(self, lr: float, epsilon: float) -> ShardedRows:
        """Divide the table among the processes; its rows are then changed by row-wise Adagrad as gradients arrive."""
        assert self.structure is not None
        self.shards = ShardedRows(self.structure, lr, epsilon)
        self.structure = None
        return self.shards

    def collect(self) -> None:
        """Put the table together again, in every process."""
        if self.shards is not None:
            self.structure = nn.Parameter(self.shards.all())
            self.shards = None

    def _structure(self, ids: Tensor | None) -> Tensor:
        if self.shards is None:
            return super()._structure(ids)
        if ids is not None:
            return self.shards.read(ids)
        trains = self.training and torch.is_grad_enabled()  # a batch may name every entity; the others read theirs
        return (
            self.shards.read(torch.arange(len(self), device=self.has_structure.device)) if trains else self.shards.all()
        )

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.shards is not None:
            destination[f"{prefix}structure"] = self.shards.local

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        if self.shards is not None and f"{prefix}structure" in state_dict:
            with torch.no_grad():
                self.shards.local.copy_(state_dict.pop(f"{prefix}structure"))
        super()._load_from_state_dict(state_dict, prefix, *rest)
