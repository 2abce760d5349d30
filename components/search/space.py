"""The search space: which keys of ``train`` get which values in a trial."""

from collections.abc import Mapping
from typing import Any

from optuna import Study, Trial
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    check_distribution_compatibility,
)
from pydantic import ValidationError

from mmkgc.components.runtime.errors import UserError, did_you_mean
from mmkgc.components.search.config import Choice, Range
from mmkgc.components.train.config import TrainConfig


def suggest(trial: Trial, space: Mapping[str, Range], train: TrainConfig) -> dict[str, Any]:
    """Values of one trial by dotted key; a range whose ``when`` does not hold is left out.

    Ranges are sampled in the given order: a condition refers to keys before it, or to the recipe.
    """
    chosen: dict[str, Any] = {}
    for key, values in space.items():
        if all(_value(wanted, chosen, train) == value for wanted, value in values.when.items()):
            chosen[key] = _suggest(trial, key, values)
    return chosen


def _suggest(trial: Trial, key: str, values: Range) -> Any:
    match _distribution(values):
        case CategoricalDistribution() as choice:
            return trial.suggest_categorical(key, choice.choices)
        case IntDistribution() as whole:
            return trial.suggest_int(key, whole.low, whole.high, step=whole.step, log=whole.log)
        case FloatDistribution() as real:
            return trial.suggest_float(key, real.low, real.high, step=real.step, log=real.log)
    raise AssertionError("unreachable")


def _value(key: str, chosen: Mapping[str, Any], train: TrainConfig) -> Any:
    """Value of a key in this trial: chosen for the key, chosen for the part that it names, or from the recipe."""
    if key in chosen:
        return chosen[key]
    parent, _, last = key.rpartition(".")
    return chosen[parent] if last == "name" and parent in chosen else _in_recipe(key, train)


def check(space: Mapping[str, Range], train: TrainConfig) -> None:
    """Raise UserError for keys that ``train`` does not have and for values that it does not accept.

    Conditional ranges are checked only in their trial, because their validity depends on the other values.
    """
    for key, values in space.items():
        if values.when:
            continue
        _in_recipe(key, train)
        tried = values.values if isinstance(values, Choice) else (_number(values, "low"), _number(values, "high"))
        for value in tried:
            try:
                train.override({key: value})
            except ValidationError as error:
                message = error.errors()[0]["msg"].removeprefix("Value error, ")
                raise UserError(f"search.space.{key}", f"{value!r} cannot be tried: {message}") from error


def check_study(study: Study, space: Mapping[str, Range]) -> None:
    """Raise UserError if the study's earlier trials have distributions that are incompatible with ``space``."""
    for trial in study.get_trials(deepcopy=False):
        for key, before in trial.distributions.items():
            if key not in space:
                continue
            try:
                check_distribution_compatibility(before, _distribution(space[key]))
            except ValueError as error:
                where = f"search.space.{key}"
                what = f"the study '{study.study_name}' has trials with other values of it, {_told(before)}"
                mend = "give the study another name (`search.study`), or the values again"
                raise UserError(where, what, mend) from error


def _told(values: Any) -> str:
    if isinstance(values, CategoricalDistribution):
        return ", ".join(map(repr, values.choices))
    return f"{values.low:g} to {values.high:g}" + (", logarithmic" if values.log else "")


def _distribution(values: Range) -> CategoricalDistribution | IntDistribution | FloatDistribution:
    if isinstance(values, Choice):
        return CategoricalDistribution(values.values)
    if values.integer:
        return IntDistribution(int(values.low), int(values.high), log=values.log, step=int(values.step or 1))
    return FloatDistribution(values.low, values.high, log=values.log, step=values.step)


def _number(values: Any, bound: str) -> float | int:
    value = getattr(values, bound)
    return int(value) if values.integer else value


def _in_recipe(key: str, train: TrainConfig) -> Any:
    place: Any = train.model_dump()
    for depth, part in enumerate(key.split(".")):
        if not isinstance(place, Mapping) or part not in place:
            known = place if isinstance(place, Mapping) else {}
            where = f"search.space.{key}"
            name = ".".join(["train", *key.split(".")[: depth + 1]])
            raise UserError(where, f"the recipe has no '{name}'", did_you_mean(part, known) if known else "")
        place = place[part]
    return place
