"""Makes thumbnails of the entities from the graph's images."""

from collections.abc import Iterable
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.encoders.images import decode
from mmkgc.components.runtime.errors import Unusable
from mmkgc.components.runtime.progress import track
from mmkgc.feature_store.storage import Storage


def write_thumbnails(path: Path, mmkg: MMKG, storage: Storage, pixels: int) -> None:
    """Write one WebP of at most ``pixels`` a side for each entity with an image, from its first usable image.

    The file is in safetensors format, one byte array per entity key; readers memory-map it.
    """
    pairs = zip(mmkg.graph.entities.keys, mmkg.content("visual"), strict=True)
    pictured = [(key, images) for key, images in pairs if images]
    pictures = {
        key: np.frombuffer(thumbnail, dtype=np.uint8)
        for key, images in track(pictured, "thumbnails", unit="image")
        if (thumbnail := _first(map(storage.blob, images), pixels))
    }
    save_file(pictures, path)


def _first(images: Iterable[bytes], pixels: int) -> bytes | None:
    """WebP of the first usable image."""
    for data in images:
        with suppress(Unusable):
            return _thumbnail(data, pixels)
    return None


def _thumbnail(data: bytes, pixels: int) -> bytes:
    buffer = BytesIO()
    small = decode(data)
    small.thumbnail((pixels, pixels))
    small.save(buffer, "WEBP", quality=85, method=4)
    return buffer.getvalue()
