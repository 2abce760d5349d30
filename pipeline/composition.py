"""Composes recipes from other recipes, and from pairs of a dataset and a preset or a paper's system.

``base:`` lists the recipes that a recipe extends: bundled recipes or systems, or YAML files in the same folder. Later
ones override earlier ones, and the recipe itself overrides all of them, key by key. A part that names another class
(other ``negatives``, another encoder) replaces the whole part.

The papers' recipes are pairs. For example, ``mkg-y-adamf`` applies ``systems/adamf.yaml``, including its values
``for:`` this dataset, to ``datasets/mkg-y.yaml``.
"""

from dataclasses import dataclass, field
from functools import reduce
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from mmkgc.components.runtime import yaml_text
from mmkgc.components.runtime.errors import UserError, did_you_mean
from mmkgc.pipeline.renamed import current

RECIPES = Path(str(files("mmkgc.pipeline"))) / "recipes"
STUDIES = RECIPES / "studies"
DATASETS, SYSTEMS, PRESETS = (RECIPES / folder for folder in ("datasets", "systems", "presets"))
KINDS = ("name", "encoder")  # keys that name the class of a part; a model's encoder is one of its parts


@dataclass(frozen=True)
class Composed:
    """Name and values of a recipe, and its source files, those with precedence first.

    ``about``: the description that the recipe's own file gives, which bases do not pass on.
    """

    name: str
    values: dict[str, Any]
    files: tuple[Path, ...]
    about: dict[str, Any] = field(default_factory=dict)


def names() -> list[str]:
    """Names of the bundled recipes: files first, then pairs."""
    return [*stems(RECIPES), *(f"{dataset}-{name}" for dataset in stems(DATASETS) for name in onto_datasets())]


def onto_datasets() -> dict[str, Path]:
    """What is combined with a dataset: the project's own presets, and the papers' systems; file by name."""
    return {path.stem: path for folder in (PRESETS, SYSTEMS) for path in sorted(folder.glob("*.yaml"))}


def summaries() -> dict[str, str]:
    """Summary of each recipe, the first line of its file; the datasets of the papers' systems are in braces."""
    datasets = ",".join(stems(DATASETS))
    files = {name: RECIPES / name for name in stems(RECIPES)}
    files |= {f"{{{datasets}}}-{name}": path for name, path in onto_datasets().items()}
    return {name: _first_line(path.with_suffix(".yaml")) for name, path in files.items()}


def summary(name: str) -> str:
    """Summary of a bundled recipe: the first line of its file, or of the system's file for a pair."""
    path, pairs = RECIPES / f"{name}.yaml", onto_datasets()
    stem = name if name in pairs else next((stem for stem in pairs if name.endswith(f"-{stem}")), name)
    return _first_line(path if path.is_file() else pairs[stem])


def stems(folder: Path) -> list[str]:
    """Names of the YAML files of a folder, without suffix."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def bundled(name: str) -> Composed | None:
    """The recipe, system, or pair of dataset and system of this name; None if there is none."""
    pairs = onto_datasets()
    for path in (RECIPES / f"{name}.yaml", pairs.get(name)):
        if path and path.is_file():
            return from_file(path)
    for dataset in stems(DATASETS):
        onto = name.removeprefix(f"{dataset}-")
        if onto != name and onto in pairs:
            return pair(dataset, onto)
    return None


def pair(dataset: str, onto: str) -> Composed:
    """A system or preset on a bundled dataset recipe, or on a folder.

    A folder that is called like the data of a dataset recipe (path/to/MKG-Y) has the settings of that recipe, others
    have the default recipe's features.
    """
    above = from_file(onto_datasets()[onto])
    if dataset in stems(DATASETS):
        return _over([above, from_file(DATASETS / f"{dataset}.yaml")], Composed(f"{dataset}-{onto}", {}, ()))
    own = Composed(onto, {"dataset": dataset}, ())
    if (known := DATASETS / f"{Path(dataset).name.lower()}.yaml").is_file():
        return _over([above, from_file(known)], own)
    extract = from_file(RECIPES / "default.yaml").values["extract"]
    return _over([above], Composed(onto, {"dataset": dataset, "extract": extract}, ()))


def from_file(path: Path, above: tuple[Path, ...] = ()) -> Composed:
    """The recipe of a file, merged with its bases; its name defaults to the file's name.

    ``above``: the files that extend this one. Raises UserError for files that cannot be read or found, and for cycles.
    """
    path = path.resolve()
    if path in above:
        raise UserError(path, "this recipe builds on itself", "take it out of `base:`")
    values = _read(path)
    about, base = values.pop("about", {}), values.pop("base", [])
    names = base if isinstance(base, list) else [base]
    bases = [_base(name, path, above) for name in names]
    return _over(bases, Composed(values.pop("name", path.stem), values, (path,), about))


def parse(text: str, where: object) -> Any:
    """Parse YAML text. Raises UserError for invalid text, and for values that the parser cannot represent."""
    try:
        return yaml_text.load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{where}, line {mark.line + 1}" if mark and "\n" in text else str(where)
        told = [getattr(error, part, None) for part in ("context", "problem")]
        raise UserError(place, "not valid YAML", ", ".join(filter(None, told)) or str(error).split("\n")[0]) from error
    except (ValueError, RecursionError, TypeError) as error:  # 5,000 digits, thousands of brackets, a list as a key
        raise UserError(where, "not valid YAML", str(error)) from error


def merged(below: Any, above: Any, part: str = "") -> Any:
    """``below`` overridden by ``above``, key by key."""
    if not isinstance(above, dict):
        return above
    below = {"name": below} if isinstance(below, str) else below
    kinds = ("name",) if part == "model" else KINDS
    if not isinstance(below, dict) or any(above.get(kind, below.get(kind)) != below.get(kind) for kind in kinds):
        return above
    return below | {key: merged(below.get(key), value, key) for key, value in above.items()}


def _over(bases: list[Composed], own: Composed) -> Composed:
    """Merge the bases, a system's values for the recipe's dataset, and the recipe itself, in this order."""
    below: dict[str, Any] = reduce(merged, (base.values for base in bases), {})
    if dataset := own.values.get("dataset", below.get("dataset")):
        special = below.pop("for", {})
        if not isinstance(special, dict):
            raise UserError(
                f"{bases[-1].files[0]}, for", "no mapping of datasets to values", "write `for: {DB15K: {train: …}}`"
            )
        below = merged(below, special.get(Path(str(dataset)).name, {}))
    decisive_first = (own.files, *(base.files for base in reversed(bases)))
    return Composed(own.name, merged(below, own.values), tuple(chain(*decisive_first)), own.about)


def _base(name: Any, path: Path, above: tuple[Path, ...]) -> Composed:
    if not isinstance(name, str):
        raise UserError(f"{path}, base", f"{name!r} is no name of a recipe", "name recipes, or YAML files beside it")
    if name.endswith((".yaml", ".yml")):
        if not (path.parent / name).is_file():
            raise UserError(
                f"{path}, base", f"there is no file '{name}' beside it", "correct the name, or add the file"
            )
        return from_file(path.parent / name, (*above, path))
    if found := bundled(name):
        return found
    raise UserError(f"{path}, base", f"no recipe '{name}'", did_you_mean(name, [*names(), *onto_datasets()]))


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        what = f"this recipe cannot be read ({error.strerror})"
        raise UserError(path, what, "let the user of mmkgc read it") from error
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
