"""Entity images: checked, and stored under their digests."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

from PIL import Image

from mmkgc.components.dataset.checks import Findings
from mmkgc.components.dataset.raw import RawGraph
from mmkgc.components.runtime.progress import track

MAX_PIXELS = 64_000_000  # a small file can claim to be a huge picture (decompression bomb)
THREADS = min(8, os.cpu_count() or 1)


class BadImage(Exception):
    """Why an image cannot be used."""


def store_images(raw: RawGraph, put_blob: Callable[[bytes], str], findings: Findings) -> tuple[tuple[str, ...], ...]:
    """Digests of each entity's stored images; what is missing or does not decode is told and left out."""
    stored = _store({path for paths in raw.image_paths for path in paths}, raw.folder, put_blob)
    findings.unusable_images = [
        f"{key}: {path} {stored[path]}"
        for key, paths in zip(raw.entities.keys, raw.image_paths, strict=True)
        for path in paths
        if isinstance(stored[path], BadImage)
    ]
    findings.warn_of("unusable images, left out (graph.json lists them all)", findings.unusable_images)
    digests = [[stored[path] for path in paths] for paths in raw.image_paths]
    return tuple(tuple(dict.fromkeys(one for one in some if isinstance(one, str))) for some in digests)


def _store(paths: set[str], folder: Path, put_blob: Callable[[bytes], str]) -> dict[str, str | BadImage]:
    """Digest of each image, or why it cannot be used."""

    def store(path: str) -> str | BadImage:
        try:
            return put_blob(checked(folder / path))
        except BadImage as reason:
            return reason

    ordered = sorted(paths)
    with ThreadPoolExecutor(THREADS) as pool:
        return dict(zip(ordered, track(pool.map(store, ordered), "images", len(ordered), "image"), strict=True))


def checked(path: Path) -> bytes:
    """The file's bytes, once they decode as an image. Raises BadImage where they do not."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadImage("does not exist" if not path.exists() else "cannot be read") from error
    try:
        with Image.open(BytesIO(data)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise BadImage(f"has more than {MAX_PIXELS:,} pixels")
            image.draft("RGB", (64, 64))  # a JPEG is decoded at an eighth of its size: as strict, and much faster
            image.load()
    except BadImage:
        raise
    except Exception as error:  # decoders raise nearly anything on broken bytes
        raise BadImage("does not decode") from error
    return data
