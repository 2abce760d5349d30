"""How loops are compiled, and the cache folder of their machine code, the same for every file that compiles one."""

# mypy: disable-error-code="no-untyped-def"

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numba

from mmkgc.components.runtime import digests

CONFIG: Any = numba.config
# SIMD needs reordered sums; NaN and infinity are handled as usual
FAST_MATH = {"reassoc", "contract", "arcp", "afn", "nsz"}


def cache_folder() -> str:
    """Cache folder, named by a digest of all files of this package; "" if none is writable.

    numba checks only the file that holds a loop, not the files inlined into it, and would use outdated code after a
    change in one of those. The folder is in numba's configured cache, beside this file, or in the user's cache: the
    first that is writable.
    """
    here = Path(__file__).parent
    name = digests.of_json([digests.of_file(path) for path in sorted(here.glob("*.py"))])[:16]
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    for parent in filter(None, (CONFIG.CACHE_DIR, here / "__pycache__", Path(caches) / "mmkgc")):
        folder = Path(parent) / f"kernels-{name}"
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=folder):
                return str(folder)
    return ""


CONFIG.CACHE_DIR = cache_folder()


def njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """``numba.njit`` without the GIL; machine code is cached in ``cache_folder``, if there is one."""
    return numba.njit(cache=bool(CONFIG.CACHE_DIR), nogil=True, **options)


def compiled(loop: Callable[..., Any]) -> Callable[..., Any]:
    """Compile on first call, with the floating-point options that SIMD needs."""
    return njit(fastmath=FAST_MATH, error_model="numpy")(loop)
