"""Entity images: checked, and stored under their digests."""

import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mmkgc.components.dataset.checks import Findings
from mmkgc.components.dataset.raw import RawGraph
from mmkgc.components.encoders.images import MAX_BYTES, Unusable, decode
from mmkgc.components.runtime.errors import UserError, shown
from mmkgc.components.runtime.progress import track

THREADS = min(8, os.cpu_count() or 1)
LONGEST_NAME = 255  # bytes, on every usual file system
CHECKED_SIDE = 64  # pixels of the shorter side: a JPEG is decoded at an eighth of its size, as strictly and much faster


class BadImage(Exception):
    """Why an image cannot be used."""


def store_images(
    raw: RawGraph, put_blob: Callable[[bytes], str], findings: Findings, allow_outside: bool = False
) -> tuple[tuple[str, ...], ...]:
    """Digests of each entity's stored images; what is missing or does not decode is told and left out.

    Raises UserError, before anything is stored, for a path that leaves the dataset's folder, unless ``allow_outside``.
    """
    if not allow_outside:
        _refuse_outside(raw)
    stored = _store({path for paths in raw.image_paths for path in paths}, raw.folder, put_blob)
    findings.unusable_images = [
        f"{shown(key)}: {shown(path)} {stored[path]}"
        for key, paths in zip(raw.entities.keys, raw.image_paths, strict=True)
        for path in paths
        if isinstance(stored[path], BadImage)
    ]
    findings.warn_of("unusable images, left out (graph.json lists them all)", findings.unusable_images)
    digests = [[stored[path] for path in paths] for paths in raw.image_paths]
    return tuple(tuple(dict.fromkeys(one for one in some if isinstance(one, str))) for some in digests)


def _refuse_outside(raw: RawGraph) -> None:
    """Raise UserError for the first path that leads out of the folder: absolute, by ``..``, or by a symbolic link."""
    root = Path(os.path.realpath(raw.folder))
    for row, paths in enumerate(raw.image_paths):
        for path in paths:
            if _misunderstood(path) or Path(os.path.realpath(root / path)).is_relative_to(root):
                continue
            raise UserError(
                f"{raw.folder / 'entities.tsv'}, line {row + 2}",  # the header is line 1
                f"the image '{shown(path)}' leads out of the dataset folder",
                "copy it into the folder, or set ingest.allow_outside_images=true to read it from there",
            )


def _store(paths: set[str], folder: Path, put_blob: Callable[[bytes], str]) -> dict[str, str | BadImage]:
    """Digest of each image, or why it cannot be used."""

    def store(path: str) -> str | BadImage:
        try:
            if reason := _misunderstood(path):
                raise BadImage(reason)
            return put_blob(checked(folder / path))
        except BadImage as reason:
            return reason

    ordered = sorted(paths)
    with ThreadPoolExecutor(THREADS) as pool:
        return dict(zip(ordered, track(pool.map(store, ordered), "images", len(ordered), "image"), strict=True))


def _misunderstood(path: str) -> str:
    """Why the cell holds no path at all; empty where it does."""
    if path.startswith("data:"):
        return "is a data URI, not a path: save the picture as a file"
    if "://" in path:
        return "is an address, and nothing is fetched: download the picture into the folder"
    if "\0" in path:
        return "has a NUL character, which no file name has"
    if max(map(len, path.encode().split(b"/"))) > LONGEST_NAME:
        return "is too long for a file name: an image is given by its path, not by its content"
    return ""


def unreadable(path: Path) -> str:
    """Why the file of an image is not even opened; empty where it can be."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return "does not exist"
    except (OSError, ValueError):
        return "cannot be read"
    if not stat.S_ISREG(found.st_mode):  # a pipe would hang, a device never end
        return "is not a regular file"
    return f"has more than {MAX_BYTES:,} bytes" if found.st_size > MAX_BYTES else ""


def checked(path: Path) -> bytes:
    """The file's bytes, once they decode as extraction decodes them. Raises BadImage where they do not."""
    if reason := unreadable(path):
        raise BadImage(reason)
    try:
        data = path.read_bytes()
        decode(data, short_side=CHECKED_SIDE)
    except OSError as error:
        raise BadImage("cannot be read") from error
    except Unusable as error:
        raise BadImage(f"cannot be used: {shown(error)}") from error
    return data
