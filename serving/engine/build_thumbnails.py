"""Small pictures of the entities, made from the graph's images."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.runtime.progress import track
from mmkgc.feature_store.storage import Storage


def write_thumbnails(path: Path, mmkg: MMKG, storage: Storage, pixels: int) -> None:
    """Write one WebP of at most ``pixels`` a side for each entity with an image, its first.

    The file is safetensors, a byte array a key: a header of offsets and the pictures, memory-mapped when read.
    """
    pairs = zip(mmkg.graph.entities.keys, mmkg.content("visual"), strict=True)
    first = [(key, images[0]) for key, images in pairs if images]
    pictures = {
        key: np.frombuffer(_thumbnail(storage.blob(image), pixels), dtype=np.uint8)
        for key, image in track(first, "thumbnails", unit="image")
    }
    save_file(pictures, path)


def _thumbnail(data: bytes, pixels: int) -> bytes:
    buffer = BytesIO()
    with Image.open(BytesIO(data)) as image:
        small = image.convert("RGBA" if image.mode in ("RGBA", "LA", "P") else "RGB")
        small.thumbnail((pixels, pixels))
        small.save(buffer, "WEBP", quality=85, method=4)
    return buffer.getvalue()
