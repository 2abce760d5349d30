"""Features for training and serving: vectors in the order of a vocabulary, with a mask."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmkgc.components.kge.features import Features, TokenFeatures
from mmkgc.components.runtime.errors import UserError
from mmkgc.feature_store.slab import Slab, open_slab
from mmkgc.feature_store.storage import Storage


def load_features(
    manifest_uri: str, keys: Sequence[str], storage: Storage, drop: float = 0.0, seed: int = 0
) -> Features:
    """Vectors of the entities ``keys``, ``[len(keys), d]``; memory-mapped if the order is that of the manifest.

    ``drop`` removes the modality from that share of the entities that have it, chosen by ``seed`` (a larger share
    includes the entities of a smaller one): the modality-missing study of AdaMF (Zhang et al., 2024).
    Raises UserError for keys that are not in the manifest.
    """
    vectors, lengths = _select(open_slab(manifest_uri, storage), keys, manifest_uri)
    mask = lengths > 0
    if not drop:
        return Features(vectors, mask)
    kept = mask & ~dropped(mask, drop, seed)
    return Features(vectors * kept.unsqueeze(1), kept)


def load_tokens(
    manifest_uri: str, keys: Sequence[str], length: int, storage: Storage, drop: float = 0.0, seed: int = 0
) -> TokenFeatures:
    """Token sequences of the entities ``keys``, ``[len(keys), length, d]``, cut or padded to ``length``."""
    vectors, lengths = _select(open_slab(manifest_uri, storage, length), keys, manifest_uri)
    if drop:
        kept = (lengths > 0) & ~dropped(lengths > 0, drop, seed)
        vectors, lengths = vectors * kept[:, None, None], lengths * kept
    return TokenFeatures(vectors, torch.arange(length) < lengths.unsqueeze(1))


def dropped(mask: Tensor, share: float, seed: int) -> Tensor:
    """A seeded ``share`` of the entities that have the modality, bool ``[N]``."""
    present = mask.nonzero().squeeze(1)
    order = torch.randperm(len(present), generator=torch.Generator().manual_seed(seed))
    chosen = torch.zeros_like(mask)
    chosen[present[order[: round(share * len(present))]]] = True
    return chosen


def _select(slab: Slab, keys: Sequence[str], uri: str) -> tuple[Tensor, Tensor]:
    """Vectors and lengths of ``keys``; not copied if ``keys`` are all keys of the slab in order."""
    if tuple(keys) == slab.keys:
        return slab.vectors, slab.lengths
    positions = {key: row for row, key in enumerate(slab.keys)}
    unknown = [key for key in keys if key not in positions]
    if unknown:
        raise UserError(
            uri,
            f"{len(unknown)} of {len(keys)} entities, such as '{unknown[0]}', are not among these features",
            "extract or import the features of this graph",
        )
    rows = torch.tensor([positions[key] for key in keys], dtype=torch.long)
    return slab.vectors[rows], slab.lengths[rows]
