"""Multi-modal knowledge-graph completion, from raw graph to answered queries.

    import mmkgc

    result = mmkgc.run("countries", {"train.epochs": 10})
    print(result.metrics)
    engine = result.load()
    print(engine.complete("Norway", "borders"))

The names below are the public Python API; everything else may change without notice. They are imported on first use,
so that ``import mmkgc`` is fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmkgc.components.runtime.errors import UserError
    from mmkgc.pipeline.api.engine import Engine, Explanation, evaluate, load
    from mmkgc.pipeline.api.run import RunResult, recipes, run
    from mmkgc.pipeline.config import Recipe

__all__ = ["Engine", "Explanation", "Recipe", "RunResult", "UserError", "evaluate", "load", "recipes", "run"]

_MODULES = {
    "mmkgc.components.runtime.errors": ("UserError",),
    "mmkgc.pipeline.api.engine": ("Engine", "Explanation", "evaluate", "load"),
    "mmkgc.pipeline.api.run": ("RunResult", "recipes", "run"),
    "mmkgc.pipeline.config": ("Recipe",),
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name == "__version__":
        from importlib.metadata import version

        return version("mmkgc")
    for module, names in _MODULES.items():
        if name in names:
            globals()[name] = found = getattr(import_module(module), name)
            return found
    raise AttributeError(f"module 'mmkgc' has no attribute '{name}'")


def __dir__() -> list[str]:
    """Public names, including those not imported yet."""
    return sorted({*globals(), *__all__})
