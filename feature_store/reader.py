"""Features for training and serving: vectors in the order of a vocabulary, with a mask."""

from collections.abc import Sequence

import torch
from torch import Tensor

from components.kge.features import Features
from components.runtime.errors import UserError
from feature_store.slab import Slab, open_slab
from feature_store.storage import Storage


def load_features(
    manifest_uri: str, keys: Sequence[str], storage: Storage, drop: float = 0.0, seed: int = 0
) -> Features:
    """Vectors of the entities ``keys``, ``[len(keys), d]``; memory-mapped where the order is the manifest's own.

    ``drop`` takes the modality away from that share of the entities that have it, chosen by ``seed`` (a larger share
    takes the smaller one's entities too): the modality-missing study of AdaMF. Raises UserError for keys that the
    manifest does not know.
    """
    slab = open_slab(manifest_uri, storage)
    rows = _rows(slab, keys, manifest_uri)
    vectors, mask = (slab.vectors, slab.mask) if rows is None else (slab.vectors[rows], slab.mask[rows])
    if drop:
        kept = mask & ~_dropped(mask, drop, seed)
        vectors, mask = vectors * kept.unsqueeze(1), kept
    return Features(vectors, mask)


def _rows(slab: Slab, keys: Sequence[str], uri: str) -> Tensor | None:
    """Rows of ``keys`` in the slab, ``None`` for all of them in order."""
    if tuple(keys) == slab.keys:
        return None
    positions = {key: row for row, key in enumerate(slab.keys)}
    unknown = [key for key in keys if key not in positions]
    if unknown:
        raise UserError(
            uri, f"{len(unknown)} of {len(keys)} entities, such as '{unknown[0]}', are not among these features",
            "extract or import the features of this graph",
        )  # fmt: skip
    return torch.tensor([positions[key] for key in keys])


def _dropped(mask: Tensor, share: float, seed: int) -> Tensor:
    present = mask.nonzero().squeeze(1)
    order = torch.randperm(len(present), generator=torch.Generator().manual_seed(seed))
    dropped = torch.zeros_like(mask)
    dropped[present[order[: round(share * len(present))]]] = True
    return dropped
