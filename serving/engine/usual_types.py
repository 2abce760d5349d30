"""Types of entities that a relation has on either side, by which candidates of other types are left out."""

import numpy as np
import torch

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.graph import RELATION, SIDES, Side, slot_of


class UsualTypes:
    """The types that the graph's triples have on each side of each relation; an entity without a type fits anywhere."""

    def __init__(self, bundle: Bundle) -> None:
        types = bundle.types or ()
        numbers = {name: number for number, name in enumerate(sorted({name for name in types if name}), 1)}
        kinds = [numbers.get(name or "", 0) for name in types] or [0] * len(bundle.entities)
        self._types = np.array([*kinds, 0], dtype=np.int32)  # the last is of id N, which is no entity
        self._usual = np.zeros((2 * len(bundle.relations), len(numbers) + 1), dtype=bool)
        triples = bundle.known.triples
        for column, side in SIDES.items() if numbers else ():
            self._usual[slot_of(triples[:, RELATION], side).numpy(), self._types[triples[:, column].numpy()]] = True
        self._usual[~self._usual[:, 1:].any(axis=1)] = True  # no triple, or none with a type: anything fits
        self._usual[:, 0] = True

    def others(self, relation: int, side: Side, ids: np.ndarray | None = None) -> np.ndarray | None:
        """Which of the entities ``ids`` ``[C]``, or of all N, are of a type that the relation never has on this side.

        None if it has all types there.
        """
        usual = self._usual[int(slot_of(torch.tensor(relation), side))]
        return None if usual.all() else ~usual[self._types[:-1] if ids is None else self._types[ids]]
