"""Where compiled code is kept, and when numba is imported."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import mmkgc.components.kge.kernels as kernels

FOLDER = Path(kernels.__file__).parent


def python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_numba_is_imported_on_first_use_only() -> None:
    code = "import sys, components.kge.model, components.kge.evaluation.ranks; print('numba' in sys.modules)"
    assert python(code) == "False"


def test_compiled_code_is_kept_for_the_next_process(tmp_path: Path) -> None:
    code = """
import torch
from mmkgc.components.kge.kernels import comparison
from mmkgc.components.kge.kernels.loops import comparison as loops
comparison.everyone("dot", torch.ones(2, 4), torch.ones(3, 4))
print(sum(loops.grid(0).score.stats.cache_hits.values()))
"""
    kept = {"NUMBA_CACHE_DIR": str(tmp_path)}
    assert [python(code, **kept) for _ in range(2)] == ["0", "1"]


def copied(folder: Path) -> str:
    """A copy of the kernels' package in ``folder``, and code that imports it instead of the installed one."""
    package = folder / "kernels"
    shutil.copytree(FOLDER, package, ignore=shutil.ignore_patterns("__pycache__"))
    return f"""
import sys, importlib, components.kge, torch
sys.dont_write_bytecode = True
spec = importlib.util.spec_from_file_location("mmkgc.components.kge.kernels", {str(package / "__init__.py")!r},
                                              submodule_search_locations=[{str(package)!r}])
sys.modules["mmkgc.components.kge.kernels"] = importlib.util.module_from_spec(spec)
from mmkgc.components.kge.kernels import comparison
assert comparison.__file__.startswith({str(folder)!r})
print(comparison.everyone("dot", torch.ones(1, 4), torch.ones(1, 4)).item())
"""


def test_a_changed_file_is_compiled_again(tmp_path: Path) -> None:
    """Also one that is inlined into the file of the loops, which itself stays the same."""
    code, geometries = copied(tmp_path), tmp_path / "kernels" / "loops" / "geometries.py"
    assert python(code, PYTHONPATH=os.getcwd()) == "4.0"
    text = geometries.read_text()
    geometries.write_text(text.replace("return q * c", "return q * c + ONE"))
    assert geometries.read_text() != text
    assert python(code, PYTHONPATH=os.getcwd()) == "8.0"


def test_a_read_only_installation_still_compiles(tmp_path: Path) -> None:
    """Neither the package's folder nor a user's cache folder can be written."""
    code = copied(tmp_path)
    (
        tmp_path / "kernels" / "loops" / "__pycache__"
    ).touch()  # a file where the folder would be: refused even to an administrator
    nowhere = str(tmp_path / "kernels" / "__init__.py" / "none")
    assert python(code, HOME=nowhere, XDG_CACHE_HOME=nowhere, PYTHONPATH=os.getcwd()) == "4.0"
