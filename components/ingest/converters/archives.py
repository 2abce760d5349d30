"""Sources that come packed: the content of a zip or tar file, unpacked while it is read."""

import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from mmkgc.components.runtime.errors import UserError

ZIP = (".zip",)
TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
MEND = "unpack it, and give the folder"


def bare(path: Path) -> str:
    """The name of a file or folder without the suffix of an archive."""
    name = path.resolve().name if path.is_dir() else path.name
    return next((name[: -len(end)] for end in (*ZIP, *TAR) if name.lower().endswith(end)), name)


@contextmanager
def unpacked(source: Path) -> Iterator[Path]:
    """The source itself, or the folder of what an archive holds; a folder that is alone in it stands for it.

    Nothing is unpacked outside this folder. Raises UserError for a damaged archive.
    """
    name = source.name.lower()
    if not source.is_file() or not name.endswith((*ZIP, *TAR)):
        yield source
        return
    with TemporaryDirectory(prefix="mmkgc-") as scratch:
        folder = Path(scratch)
        try:
            if name.endswith(ZIP):
                with zipfile.ZipFile(source) as zipped:
                    zipped.extractall(folder)
            else:
                with tarfile.open(source) as tarred:
                    tarred.extractall(folder, filter="data")
        except (zipfile.BadZipFile, tarfile.TarError, OSError, RuntimeError, NotImplementedError) as error:
            raise UserError(source, f"this archive cannot be unpacked ({error})", MEND) from error
        yield _inner(folder)


def _inner(folder: Path) -> Path:
    while len(inside := [path for path in folder.iterdir() if path.name != "__MACOSX"]) == 1 and inside[0].is_dir():
        folder = inside[0]
    return folder
