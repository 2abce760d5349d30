"""Which modules are extras, and what is said where one is missing."""

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.extras import MODULES, extra_of, required

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OF_OTHERS = {"pydantic_core": "pydantic", "typing_extensions": "pydantic"}
"""Modules that a core dependency brings along, and which."""


def _name(requirement: str) -> str:
    return requirement.partition("[")[0].rstrip("<>=!~.,0123456789 ").lower().replace("_", "-")


def _imported() -> set[str]:
    found = set()
    for folder in ("components", "feature_store", "pipeline", "serving"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Import):
                    found |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"mmkgc"}


def test_every_module_that_is_imported_belongs_to_the_core_or_to_an_extra():
    core = {_name(requirement) for requirement in PROJECT["dependencies"]} | set(OF_OTHERS)
    brought = packages_distributions()
    unclear = []
    for module in sorted(_imported()):
        distributions = {name.lower().replace("_", "-") for name in brought.get(module, [])}
        in_core = module in OF_OTHERS or bool(distributions & core)
        if in_core == (extra_of(module) is not None):
            unclear.append(module)
    assert not unclear, "name their extras in components/runtime/extras.py"


def test_every_extra_is_declared():
    assert MODULES.keys() <= PROJECT["optional-dependencies"].keys()


def test_a_missing_module_of_an_extra_names_the_extra():
    with pytest.raises(UserError) as refusal, required():
        raise ModuleNotFoundError("No module named 'kfp.dsl'", name="kfp.dsl")
    assert str(refusal.value) == "module 'kfp.dsl': not installed — pip install 'mmkgc[pipeline]'"


def test_any_other_missing_module_is_a_bug_and_passes():
    with pytest.raises(ModuleNotFoundError), required():
        raise ModuleNotFoundError("No module named 'mmkgc.nowhere'", name="mmkgc.nowhere")
