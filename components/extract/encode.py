"""Encoding of items to rows of vectors; worker processes decode the next batches meanwhile."""

import os
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import DataLoader, Dataset

from mmkgc.components.dataset.modalities import MODALITIES
from mmkgc.components.dataset.modalities.base import Modality
from mmkgc.components.dataset.modalities.files import FileModality
from mmkgc.components.encoders.base import Encoder, EncoderConfig
from mmkgc.components.encoders.registry import create
from mmkgc.components.extract.config import ExtractConfig
from mmkgc.components.extract.contents import Source
from mmkgc.components.extract.on_ray import encoded_on_ray
from mmkgc.components.runtime.errors import Unusable, UserError
from mmkgc.feature_store.opening import open_storage
from mmkgc.feature_store.parts import FAILED, OK, PARTIAL, Row
from mmkgc.feature_store.storage import Storage


class Encoded(NamedTuple):
    """An item's vector (or token sequence), or ``None`` and the reason; a vector may carry a remark."""

    vector: np.ndarray | None
    remark: str = ""


def rows(sources: Sequence[Source], encoder: Encoder, config: ExtractConfig, storage: Storage) -> Generator[Row]:
    """Yield one row per source as soon as its items are encoded; items shared by sources are encoded once."""
    modality = MODALITIES[encoder.modality]
    sources = sorted(sources, key=lambda source: -sum(map(modality.effort, source.items)))
    uses = Counter(item for source in sources for item in source.items)
    items = list(uses)
    in_files = isinstance(modality, FileModality)
    if config.engine == "ray" and items:
        stream = _on_ray(items, encoder, config, storage)
    else:
        stream = _decoded(items, encoder, config, storage) if in_files else _direct(items, encoder, config)
    encoded: dict[Any, Encoded] = {}
    for source in sources:
        while any(item not in encoded for item in source.items):
            encoded.update([next(stream)])
        yield _row(source, [encoded[item] for item in source.items], modality)
        uses.subtract(source.items)
        for item in source.items:
            if not uses[item]:
                encoded.pop(item, None)


def _row(source: Source, encoded: Sequence[Encoded], modality: Modality) -> Row:
    """The row of a source: its items' vectors, pooled."""
    vectors = [each.vector for each in encoded if each.vector is not None]
    remarks = "; ".join(dict.fromkeys(each.remark for each in encoded if each.remark))
    content = str(source.content)
    if not vectors:
        return Row(source.key, content, None, 0, FAILED, remarks)
    status = OK if len(vectors) == len(encoded) else PARTIAL
    return Row(source.key, content, modality.pool(vectors), len(vectors), status, remarks)


def _direct(items: Sequence[Any], encoder: Encoder, config: ExtractConfig) -> Iterator[tuple[Any, Encoded]]:
    for batch in _batches(items, config.batch_size):
        prepared = encoder.prepare(batch)
        yield from zip(batch, _encode(encoder, prepared), strict=True)


def _on_ray(
    items: Sequence[Any], encoder: Encoder, config: ExtractConfig, storage: Storage
) -> Iterator[tuple[Any, Encoded]]:
    batches = list(_batches(items, config.batch_size))
    make = partial(_encoding, encoder.config, storage.root)
    return ((item, Encoded(*result)) for item, result in encoded_on_ray(batches, make, config.actors))


def _encoding(config: EncoderConfig, root: str) -> Callable[[Sequence[Any]], list[Encoded]]:
    """What encodes a batch in another process: files are read from the store, other items are encoded as they are."""
    encoder = create(config)
    in_files = isinstance(MODALITIES[encoder.modality], FileModality)

    def encode(batch: Sequence[Any]) -> list[Encoded]:
        if not in_files:
            return list(_encode(encoder, encoder.prepare(batch)))
        decoding = _Decoding(batch, config, root)
        return [encoded for _, encoded in _encode_decoded(encoder, [decoding[place] for place in range(len(batch))])]

    return encode


def _encode_decoded(encoder: Encoder, batch: Sequence[tuple]) -> Iterator[tuple[str, Encoded]]:
    """Each decoded file's digest with its vector, or the reason why there is none. Raises what is a UserError."""
    encoded = iter(_encode(encoder, [prepared for _, prepared, _ in batch if prepared is not None]))
    for item, prepared, reason in batch:
        if isinstance(reason, UserError):
            raise reason
        yield item, Encoded(None, reason) if prepared is None else next(encoded)


def _decoded(
    items: Sequence[str], encoder: Encoder, config: ExtractConfig, storage: Storage
) -> Iterator[tuple[str, Encoded]]:
    decoding = _Decoding(items, encoder.config, storage.root)
    workers = config.workers if config.workers is not None else min(8, max(1, (os.cpu_count() or 1) - 1))
    loader = DataLoader(
        decoding,
        batch_size=config.batch_size,
        num_workers=min(workers, len(items)),
        collate_fn=list,
        prefetch_factor=4 if workers else None,
    )
    for batch in loader:
        yield from _encode_decoded(encoder, batch)


class _Decoding(Dataset):
    """Files by digest, read and prepared in a worker process, which creates the encoder without its network."""

    def __init__(self, items: Sequence[str], config: EncoderConfig, root: str) -> None:
        self.items, self.config, self.root = items, config, root

    def __len__(self) -> int:
        return len(self.items)

    @cached_property
    def storage(self) -> Storage:
        """The store, opened in the worker process."""
        return open_storage(self.root)

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder, used only for preparation."""
        return create(self.config)

    @property
    def modality(self) -> FileModality:
        """The modality of the encoder."""
        found = MODALITIES[self.encoder.modality]
        assert isinstance(found, FileModality)
        return found

    def __getitem__(self, index: int) -> tuple:
        digest = self.items[index]
        try:
            item = self.modality.decode(self.storage.blob(digest), self.encoder.options)
            return digest, self.encoder.prepare([item])[0], ""
        except Unusable as error:
            return digest, None, f"{self.modality.noun} {digest[:12]}: {error}"
        except UserError as error:  # the loader would raise it as a RuntimeError
            return digest, None, error


def _encode(encoder: Encoder, prepared: Sequence) -> Iterator[Encoded]:
    if not prepared:
        return
    tokens = encoder.config.output == "tokens"
    vectors = encoder.sequences(prepared) if tokens else encoder.vectors(prepared)
    for item, vector in zip(prepared, vectors, strict=True):
        if np.isfinite(vector).all() and vector.any():
            yield Encoded(vector, encoder.remark(item))
        else:
            yield Encoded(None, "the encoder gives no finite, non-zero vector for it")


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
