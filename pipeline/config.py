"""A recipe: one YAML file, one pydantic model, one run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mmkgc.components.evaluate.config import EvaluateConfig
from mmkgc.components.extract.config import ExtractConfig
from mmkgc.components.ingest.config import IngestConfig
from mmkgc.components.package.config import PackageConfig
from mmkgc.components.propose.config import ProposeConfig
from mmkgc.components.register.config import RegisterConfig
from mmkgc.components.runtime.errors import UserError, did_you_mean
from mmkgc.components.search.config import SearchConfig
from mmkgc.components.train.config import TrainConfig
from mmkgc.pipeline import composition
from mmkgc.pipeline.composition import names
from mmkgc.pipeline.pods import ClusterConfig

__all__ = ["Recipe", "load", "names"]

DEFAULT = "default"


class Recipe(BaseModel):
    """Everything that a run depends on, composed of the steps' own configurations."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Names the MLflow experiment and the model.")
    dataset: str = Field(description="A bundled dataset, or the path of a dataset folder (TSV or OpenKE).")
    ingest: IngestConfig = IngestConfig()
    extract: ExtractConfig = ExtractConfig()
    search: SearchConfig = SearchConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    register_: RegisterConfig = Field(RegisterConfig(), alias="register")
    package: PackageConfig = PackageConfig()
    propose: ProposeConfig = ProposeConfig()
    cluster: ClusterConfig = Field(ClusterConfig.model_validate({}), description="What pods ask of a cluster.")


def load(recipe_or_dataset: str, settings: Sequence[str] = ()) -> Recipe:
    """The recipe of a bundled name, a YAML file, or a dataset folder (the default recipe on that folder).

    ``settings`` are ``key.path=value`` changes as ``--set`` takes them.
    Raises UserError for a wrong name, key or value.
    """
    path = Path(recipe_or_dataset)
    if path.is_dir():
        found = composition.from_file(composition.RECIPES / f"{DEFAULT}.yaml")
        raw = found.values | {"name": path.resolve().name.lower(), "dataset": str(path.resolve())}
    else:
        is_file = path.suffix in (".yaml", ".yml") and path.is_file()
        found = composition.from_file(path) if is_file else _bundled(recipe_or_dataset)
        raw = {"name": found.name} | found.values
    if "dataset" not in raw:
        raw.pop("for", None)  # a system on a dataset that only --set names
    for setting in settings:
        _apply(raw, setting)
    return _validate(raw, found.files, settings)


def _bundled(name: str) -> composition.Composed:
    if name in names() and (found := composition.bundled(name)):
        return found
    raise UserError(name, "no recipe, recipe file or dataset folder of this name", did_you_mean(name, names()))


def _apply(raw: dict[str, Any], setting: str) -> None:
    """Change one value in place: ``train.epochs=5``; the value is YAML."""
    key, separator, value = setting.partition("=")
    if not separator:
        raise UserError(f"--set {setting}", "no value given", "write key.path=value, e.g. train.epochs=5")
    *parents, last = key.split(".")
    for parent in parents:
        child = raw.setdefault(parent, {})
        if not isinstance(child, dict):
            raw[parent] = child = {"name": child} if isinstance(child, str) else {}
        raw = child
    raw[last] = yaml.safe_load(value)


def _validate(raw: dict[str, Any], sources: Sequence[Path], settings: Sequence[str]) -> Recipe:
    try:
        return Recipe.model_validate(raw)
    except ValidationError as failure:
        error = failure.errors()[0]
        path = [str(part) for part in error["loc"]]
        where = _where(sources, path, settings)
        rest = len(failure.errors()) - 1
        more = f" (and {rest} more)" if rest else ""
        if error["type"] == "extra_forbidden":
            allowed = _fields(path[:-1])
            raise UserError(
                where, f"unknown key{more}", did_you_mean(path[-1], allowed) if allowed else ""
            ) from failure
        message = error["msg"].removeprefix("Value error, ")
        raise UserError(where, f"{message[0].lower()}{message[1:]}{more}") from failure


def _where(sources: Sequence[Path], path: list[str], settings: Sequence[str]) -> str:
    dotted = ".".join(path)
    for setting in settings:
        if dotted.startswith(setting.partition("=")[0]):
            return f"--set {setting}"
    places = [(source, *_deepest(source, path)) for source in sources]
    source, depth, line = max(places, key=lambda place: place[1])
    return f"{source}, line {line}, {dotted}" if depth else f"{source}, {dotted}"


def _deepest(source: Path, path: list[str]) -> tuple[int, int]:
    """How many keys of ``path`` the YAML file has, and the line of the last of them."""
    node, line = yaml.compose(source.read_text(encoding="utf-8")), 0
    for depth, key in enumerate(path):
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        found = next(((k, v) for k, v in pairs if k.value == key), None)
        if found is None:
            return depth, line
        line, node = found[0].start_mark.line + 1, found[1]
    return len(path), line


def _fields(path: list[str]) -> list[str]:
    """Names of the keys that are allowed at ``path``."""
    model: Any = Recipe
    for key in path:
        field = getattr(model, "model_fields", {}).get(key)
        if field is None:
            return []
        options = getattr(field.annotation, "__args__", (field.annotation,))
        model = next((option for option in options if hasattr(option, "model_fields")), None)
    return sorted(getattr(model, "model_fields", {}))
