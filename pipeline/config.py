"""The recipe of a run: a pydantic model, read from a YAML file."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo

from mmkgc.components.dataset.modalities import MODALITIES
from mmkgc.components.evaluate.config import EvaluateConfig
from mmkgc.components.extract.config import ExtractConfig
from mmkgc.components.ingest.config import IngestConfig
from mmkgc.components.package.config import PackageConfig
from mmkgc.components.propose.config import ProposeConfig
from mmkgc.components.register.config import RegisterConfig
from mmkgc.components.runtime import digests
from mmkgc.components.runtime.errors import UserError, did_you_mean
from mmkgc.components.runtime.names import Name, Place
from mmkgc.components.runtime.quoting import printable
from mmkgc.components.runtime.settings import SCHEME
from mmkgc.components.runtime.tracking import flatten
from mmkgc.components.search.config import SearchConfig
from mmkgc.components.train.config import TrainConfig
from mmkgc.pipeline.composition import bundled, names
from mmkgc.pipeline.pods import ClusterConfig
from mmkgc.pipeline.renamed import current_key
from mmkgc.pipeline.request import SUPPORTED, Request, find, pair, told

__all__ = ["Recipe", "checked", "load", "names"]

log = logging.getLogger(__name__)

PLAIN = {
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "a mapping of keys belongs here"),
    **dict.fromkeys(("tuple_type", "list_type"), "a list belongs here"),
    "string_type": "text belongs here (a number as text is written in quotes)",
}
"""Words for pydantic's kinds of errors whose own messages speak of Python."""
SCHEMES = ("s3", "file")
MOST_NAMED = 4
"""A run with more changes than these is named after the parts of its model."""


class Recipe(BaseModel):
    """The complete configuration of a run, composed of the steps' configurations."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name = Field(description="Names the MLflow experiment and the model.")
    dataset: Place = Field(description="A bundled dataset, or the path of a dataset folder (TSV or OpenKE).")
    ingest: IngestConfig = IngestConfig()
    extract: ExtractConfig = ExtractConfig()
    search: SearchConfig = SearchConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    register_: RegisterConfig = Field(RegisterConfig(), alias="register")
    package: PackageConfig = PackageConfig()
    propose: ProposeConfig = ProposeConfig()
    cluster: ClusterConfig = Field(ClusterConfig.model_validate({}), description="What pods ask of a cluster.")

    @field_validator("dataset")
    @classmethod
    def _can_be_opened(cls, dataset: str) -> str:
        """Reject empty names and unsupported URL schemes."""
        if not dataset.strip():
            raise ValueError("name a dataset, or give the path of its folder")
        scheme, separator, _ = dataset.partition(SCHEME)
        if separator and scheme not in SCHEMES:
            raise ValueError(f"datasets are not read from {printable(scheme)}:// — {SUPPORTED}")
        return dataset

    @model_validator(mode="after")
    def _searches_from_the_beginning(self) -> "Recipe":
        """Trials have other models than the one that a training would start from."""
        if self.search.trials and self.train.start is not None:
            raise ValueError(
                "trials begin with new values, so search.trials does not go with train.start; leave out one"
            )
        return self

    @property
    def compared(self) -> dict[str, Any]:
        """The values by which MLflow compares runs: data, encoders and training, nested as in the recipe.

        The other values are parameters of the runs of their steps.
        """
        encoders = {modality: {"encoder", "weights"} for modality in MODALITIES}
        parts: Any = {"dataset": True, "train": True, "ingest": {"dev_share", "increments"}, "extract": encoders}
        parts |= {"search": {"trials"}, "evaluate": {"protocol"}}
        return self.model_dump(mode="json", include=parts)

    @property
    def seed_group(self) -> str:
        """Digest of the compared values without the seed: runs with the same one differ in their seed alone."""
        values = flatten(self.compared)
        values.pop("train.seed")
        return digests.of_json(values)[:12]

    @property
    def title(self) -> str:
        """Name of a run: what differs from the bundled recipe of the same name, else the parts of the model."""
        base = bundled(self.name)
        if base is None:
            return self.train.label
        usual = flatten(Recipe.model_validate({"name": self.name, "dataset": self.dataset} | base.values).compared)
        own = flatten(self.compared)
        other = {key for key, value in own.items() if usual.get(key) != value}
        replaced = {key.removesuffix("name") for key in other if key.endswith(".name")}  # its options are others, too
        changed = [
            f"{_short(key)}={value}"
            for key, value in own.items()
            if key in other and (key.endswith(".name") or not key.startswith(tuple(replaced)))
        ]
        return ", ".join(changed) if 0 < len(changed) <= MOST_NAMED else self.train.label


def _short(key: str) -> str:
    """A key as a run's name shows it: ``train.negatives.name`` → ``negatives``, ``train.epochs`` → ``epochs``."""
    return key.removeprefix("train.").removeprefix("model.").removesuffix(".name")


def load(recipe_or_dataset: str, settings: Sequence[str] = ()) -> Recipe:
    """The recipe of a bundled name, a YAML file, or a dataset folder (the default recipe on that folder).

    If the name of a folder or file is not a valid run name, it is converted to one, and this is logged. ``settings``
    are ``key.path=value`` changes as in ``--set``. Raises UserError for an invalid name, key or value.
    """
    return checked(find(recipe_or_dataset, settings))


def load_pair(dataset: str, system: str, settings: Sequence[str] = ()) -> Recipe:
    """The recipe of a system of the papers on a dataset of theirs, or on a folder; ``settings`` as in ``load``."""
    return checked(pair(dataset, system, settings))


def checked(asked: Request) -> Recipe:
    """The recipe of a request. Raises UserError for an invalid key or value."""
    recipe = _validate(asked)
    if recipe.search.trials:
        from mmkgc.components.search import space  # imports Optuna, which takes a second

        space.check(recipe.search.space, recipe.train)
    if asked.called and recipe.name == asked.unset["name"] != asked.called:
        called = printable(asked.called)
        log.warning("'%s' cannot name a run: it is called '%s' (--set name=… changes that)", called, recipe.name)
    return recipe


def _validate(asked: Request) -> Recipe:
    """Validate the values of a request; errors name the place of the fault."""
    try:
        return Recipe.model_validate(asked.values)
    except ValidationError as failure:
        error = failure.errors()[0]
        path = _path(asked.values, error["loc"])
        where = _where(asked.sources, path, [] if _is_wrong(asked.unset, error) else asked.settings)
        rest = len(failure.errors()) - 1
        more = f" (and {rest} more)" if rest else ""
        if error["type"] == "extra_forbidden":
            allowed = _fields(path[:-1])
            if path[-1] in allowed:  # of another member of the union
                raise UserError(where, f"the chosen class has no '{path[-1]}'{more}", "see `mmkgc list`") from failure
            raise UserError(
                where, f"unknown key{more}", did_you_mean(path[-1], allowed) if allowed else ""
            ) from failure
        if error["type"] == "union_tag_invalid":
            about = error["ctx"]
            what = f"no {about['discriminator'].strip(chr(39))} is called '{about['tag']}'{more}"
            raise UserError(where, what, did_you_mean(about["tag"], _words(about["expected_tags"]))) from failure
        if error["type"] == "missing":
            raise UserError(where, f"the key '{'.'.join(path)}' is missing{more}", "add it") from failure
        message = PLAIN.get(error["type"]) or error["msg"].removeprefix("Value error, ")
        raise UserError(where, f"{message[0].lower()}{message[1:]}{more}") from failure


def _is_wrong(values: dict[str, Any], error: Any) -> bool:
    """Whether validating ``values`` gives the same error."""
    try:
        Recipe.model_validate(values)
    except ValidationError as failure:
        return any((other["loc"], other["msg"]) == (error["loc"], error["msg"]) for other in failure.errors())
    return False


def _path(raw: Any, place: Sequence[int | str]) -> list[str]:
    """The keys of a pydantic error location, without the class names that pydantic inserts for unions."""
    path = []
    for depth, part in enumerate(place):
        inside = part in raw if isinstance(raw, dict) else isinstance(raw, list) and isinstance(part, int)
        if inside or depth == len(place) - 1:
            path.append(str(part))
            raw = raw[part] if inside else None
    return path


def _where(sources: Sequence[Path], path: list[str], settings: Sequence[str]) -> str:
    for setting in reversed(settings):
        key = current_key(setting.partition("=")[0]).split(".")
        if all(given == wrong for given, wrong in zip(key, path, strict=False)):  # one contains the other
            return told(setting)
    dotted = ".".join(path)
    places = [(source, *_deepest(source, path)) for source in sources]
    source, depth, line = max(places, key=lambda place: place[1])
    return f"{source}, line {line}, {dotted}" if depth else f"{source}, {dotted}"


def _deepest(source: Path, path: list[str]) -> tuple[int, int]:
    """Number of leading keys of ``path`` that the YAML file contains, and the line of the last of them."""
    node, line = yaml.compose(source.read_text(encoding="utf-8")), 0
    for depth in range(len(path)):
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        place = ".".join(path[: depth + 1])
        found = next(((k, v) for k, v in pairs if current_key(".".join([*path[:depth], str(k.value)])) == place), None)
        if found is None:
            return depth, line
        line, node = found[0].start_mark.line + 1, found[1]
    return len(path), line


def _fields(path: list[str]) -> list[str]:
    """Names of the keys allowed at ``path``, as written in a recipe."""
    model: Any = Recipe
    for key in path:
        field = _by_key(model).get(key)
        if field is None:
            return []
        model = field.annotation
    return sorted(_by_key(model))


def _by_key(annotation: Any) -> dict[str, FieldInfo]:
    """Fields of a model, or of all members of a union, by their key in a recipe."""
    fields = {field.alias or name: field for name, field in getattr(annotation, "model_fields", {}).items()}
    for option in get_args(annotation):
        fields |= _by_key(option)
    return fields


def _words(quoted: str) -> list[str]:
    """The words in pydantic's quoted list ``'beit', 'vgg16'``."""
    return re.findall(r"'([^']+)'", quoted)
