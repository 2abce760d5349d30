"""A study: a YAML file that names a grid of trainings, what is measured, and how it is drawn.

The grid is systems × values × seeds. Every cell is a recipe: a system of the papers on the study's dataset, or any
other recipe, with changed keys. Bundled studies are in ``pipeline/recipes/studies``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from mmkgc.components.runtime.errors import UserError, did_you_mean
from mmkgc.components.runtime.names import name_of
from mmkgc.components.runtime.quoting import json_line
from mmkgc.pipeline import composition, config
from mmkgc.pipeline.config import Recipe

Changes = dict[str, Any]


class System(BaseModel):
    """A row of the grid: a recipe, or a system of the papers, which is put onto the dataset; and changed keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: str
    set: Changes = {}


def _system(given: Any) -> Any:
    return {"recipe": given} if isinstance(given, str) else given


def _swept(given: Any) -> Any:
    """``{key: K, of: [a, b]}`` is short for ``{a: {K: a}, b: {K: b}}``."""
    if isinstance(given, dict) and given.keys() == {"key", "of"}:
        return {value: {given["key"]: value} for value in given["of"]}
    return given


class Printed(BaseModel):
    """Numbers of a paper: by system (``MANS-H``, or ``MANS-H, 0.3`` for one value) and by measure."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    dataset: str | None = Field(None, description="Name of the one dataset that they are of; null: shown beside any.")
    values: dict[str, dict[str, float]]


class Study(BaseModel):
    """A grid of trainings, what is measured of them, and how it is drawn."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    about: str = Field("", description="What the study reproduces, and how its cells depart from the paper.")
    dataset: str = Field("countries", description="A dataset of the recipes (countries, mkg-y, …) or a folder.")
    systems: dict[str, Annotated[System, BeforeValidator(_system)]] = Field(min_length=1)
    values: Annotated[dict[str | int | float, Changes], BeforeValidator(_swept)] = Field(
        {"": {}}, description="Values of what is swept: label → changed keys; or {key: K, of: [values]}."
    )
    value: str = Field("", description="Name of what the values vary, as a figure shows it.")
    seeds: int = Field(3, ge=1)
    set: Changes = Field({}, description="Changed keys of all cells.")
    for_: dict[str, Changes] = Field({}, alias="for", description="Changed keys of all cells on a dataset.")
    measure: tuple[str, ...] = Field(("test/mrr",), min_length=1, description="Metrics; * stands for anything.")
    draw: tuple[Literal["table", "curves", "bars", "epochs", "map", "weights"], ...] = ("table",)
    printed: tuple[Printed, ...] = ()

    @property
    def ranks_test(self) -> bool:
        """Whether a measure needs the test split; otherwise it is not ranked."""
        return any(measure.startswith(("test/", "openke/")) for measure in self.measure)

    def restricted(self, systems: Sequence[str]) -> Self:
        """This study with some of its systems, in its own order. Raises UserError for one that it does not have."""
        for name in systems:
            if name not in self.systems:
                raise UserError(f"system {name}", "the study has no such system", did_you_mean(name, self.systems))
        return self.model_copy(update={"systems": {name: of for name, of in self.systems.items() if name in systems}})

    def on(self, dataset: str) -> Self:
        """This study on a dataset: without what papers print of others."""
        shown = (None, name_on(dataset))
        return self.model_copy(update={"printed": tuple(of for of in self.printed if of.dataset in shown)})


@dataclass(frozen=True)
class Cell:
    """One training: its place in the grid, and its recipe."""

    system: str
    value: str
    recipe: Recipe

    @property
    def seed(self) -> int:
        """Seed of the training."""
        return self.recipe.train.seed

    @property
    def label(self) -> str:
        """Name of the cell in MLflow and on the terminal."""
        return ", ".join(filter(None, [self.system, self.value, f"seed {self.seed}"]))


def name_on(dataset: str) -> str:
    """Name of a dataset in studies: ``db15k`` of a folder ``path/to/DB15K``, too."""
    return Path(dataset).name.lower()


def names() -> list[str]:
    """Names of the bundled studies."""
    return composition.stems(composition.STUDIES)


def load(name: str) -> tuple[str, Study]:
    """Name and content of a bundled study or of a YAML file. Raises UserError for an unknown or invalid study."""
    path = composition.STUDIES / f"{name}.yaml" if name in names() else Path(name)
    if path.suffix not in (".yaml", ".yml") or not path.is_file():
        raise UserError(f"study {name}", "no bundled study and no YAML file", did_you_mean(name, names()))
    raw = composition.parse(path.read_text(encoding="utf-8"), path)
    try:
        return name_of(path.stem), Study.model_validate(raw)
    except ValidationError as failure:
        error = failure.errors()[0]
        where = ".".join(str(part) for part in error["loc"])
        raise UserError(f"{path}, {where}", error["msg"].removeprefix("Value error, ").lower()) from failure


def cells(study: Study, dataset: str, seeds: int, settings: tuple[str, ...] = ()) -> Iterator[Cell]:
    """The cells, seed by seed, so that an interrupted study has all systems first. Raises UserError for a wrong key."""
    common = study.set | study.for_.get(name_on(dataset), {})
    for seed in range(seeds):
        for label, system in study.systems.items():
            for value, changes in study.values.items():
                wanted = common | system.set | changes | {"train.seed": seed}
                recipe = _recipe(
                    system.recipe, dataset, [*(f"{k}={json_line(v)}" for k, v in wanted.items()), *settings]
                )
                yield Cell(label, str(value), recipe)


def _recipe(name: str, dataset: str, settings: list[str]) -> Recipe:
    if name in composition.onto_datasets():
        return config.load_pair(dataset, name, settings)
    return config.load(name, [f"dataset={dataset}", *settings])
