"""How recipes are put together: a recipe may build on others, and a dataset with a paper's system is a recipe.

``base:`` names what a recipe builds on: bundled recipes or systems, or YAML files beside it. Later ones change what
earlier ones say, and the recipe itself changes all of them, key by key; a part that names another class (another
``negatives``, another encoder) replaces the whole part.

The papers' recipes are pairs: ``mkg-y-adamf`` is ``systems/adamf.yaml``, then what it says ``for:`` that dataset, on
``datasets/mkg-y.yaml``.
"""

from dataclasses import dataclass
from functools import reduce
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from mmkgc.components.runtime.errors import UserError, did_you_mean
from mmkgc.pipeline.renamed import current

RECIPES = Path(str(files("mmkgc.pipeline"))) / "recipes"
DATASETS, SYSTEMS = RECIPES / "datasets", RECIPES / "systems"
KINDS = ("name", "encoder")  # the keys that say which class a part is; a model's encoder is one of its parts


@dataclass(frozen=True)
class Composed:
    """Name and values of a recipe, and the files that they come from: those that decide come first."""

    name: str
    values: dict[str, Any]
    files: tuple[Path, ...]


def names() -> list[str]:
    """Names of the recipes that come with the package: files first, then pairs."""
    return [*stems(RECIPES), *(f"{dataset}-{system}" for dataset in stems(DATASETS) for system in stems(SYSTEMS))]


def summaries() -> dict[str, str]:
    """What each recipe is, in the first line of its file; the datasets of the papers' systems stand in braces."""
    datasets = ",".join(stems(DATASETS))
    files = {name: RECIPES / name for name in stems(RECIPES)}
    files |= {f"{{{datasets}}}-{name}": SYSTEMS / name for name in stems(SYSTEMS)}
    return {name: _first_line(path.with_suffix(".yaml")) for name, path in files.items()}


def summary(name: str) -> str:
    """What the bundled recipe ``name`` is, in the first line of its file; of a pair, the system's file."""
    stem = next((system for system in stems(SYSTEMS) if name.endswith(f"-{system}")), name)
    path = RECIPES / f"{name}.yaml"
    return _first_line(path if path.is_file() else SYSTEMS / f"{stem}.yaml")


def stems(folder: Path) -> list[str]:
    """What the YAML files of a folder are called."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def bundled(name: str) -> Composed | None:
    """The recipe, system, or pair of dataset and system of this name; None where there is none."""
    for path in (RECIPES / f"{name}.yaml", SYSTEMS / f"{name}.yaml"):
        if path.is_file():
            return from_file(path)
    for dataset in stems(DATASETS):
        system = name.removeprefix(f"{dataset}-")
        if system != name and system in stems(SYSTEMS):
            parts = [from_file(SYSTEMS / f"{system}.yaml"), from_file(DATASETS / f"{dataset}.yaml")]
            return _over(parts, Composed(name, {}, ()))
    return None


def from_file(path: Path, above: tuple[Path, ...] = ()) -> Composed:
    """A recipe's file with what it builds on; its name is the file's where it gives none.

    ``above``: the files that build on this one. Raises UserError for what cannot be read, found, or ends nowhere.
    """
    path = path.resolve()
    if path in above:
        raise UserError(path, "this recipe builds on itself", "take it out of `base:`")
    values = _read(path)
    base = values.pop("base", [])
    names = base if isinstance(base, list) else [base]
    bases = [_base(name, path, above) for name in names]
    return _over(bases, Composed(values.pop("name", path.stem), values, (path,)))


def parse(text: str, where: object) -> Any:
    """The value of YAML text. Raises UserError for text that is none, or that no reader of YAML can hold."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{where}, line {mark.line + 1}" if mark and "\n" in text else str(where)
        raise UserError(place, "not valid YAML", str(getattr(error, "problem", None) or error)) from error
    except (ValueError, RecursionError, TypeError) as error:  # 5,000 digits, thousands of brackets, a list as a key
        raise UserError(where, "not valid YAML", str(error)) from error


def merged(below: Any, above: Any, part: str = "") -> Any:
    """``above`` over ``below``, key by key."""
    if not isinstance(above, dict):
        return above
    below = {"name": below} if isinstance(below, str) else below
    kinds = ("name",) if part == "model" else KINDS
    if not isinstance(below, dict) or any(above.get(kind, below.get(kind)) != below.get(kind) for kind in kinds):
        return above
    return below | {key: merged(below.get(key), value, key) for key, value in above.items()}


def _over(bases: list[Composed], own: Composed) -> Composed:
    """A recipe over what it builds on; what a system says for the recipe's dataset stands between the two."""
    below: dict[str, Any] = reduce(merged, (base.values for base in bases), {})
    if dataset := own.values.get("dataset", below.get("dataset")):
        special = below.pop("for", {})
        if not isinstance(special, dict):
            raise UserError(
                f"{bases[-1].files[0]}, for", "no mapping of datasets to values", "write `for: {DB15K: {train: …}}`"
            )
        below = merged(below, special.get(str(dataset), {}))
    decisive_first = (own.files, *(base.files for base in reversed(bases)))
    return Composed(own.name, merged(below, own.values), tuple(chain(*decisive_first)))


def _base(name: Any, path: Path, above: tuple[Path, ...]) -> Composed:
    if not isinstance(name, str):
        raise UserError(f"{path}, base", f"{name!r} is no name of a recipe", "name recipes, or YAML files beside it")
    if name.endswith((".yaml", ".yml")):
        return from_file(path.parent / name, (*above, path))
    if found := bundled(name):
        return found
    raise UserError(f"{path}, base", f"no recipe '{name}'", did_you_mean(name, [*names(), *stems(SYSTEMS)]))


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(path, "this recipe cannot be read", str(error.strerror)) from error
    except UnicodeDecodeError as error:
        raise UserError(path, f"byte {error.start + 1} is not UTF-8", "save the recipe as UTF-8") from error
    values = parse(text, path)
    if not isinstance(values, dict):
        raise UserError(
            path, "a recipe is a mapping of keys such as `dataset:` and `train:`", "see `mmkgc list recipes`"
        )
    return current(values, path)


def _first_line(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return file.readline().strip("# \n")
