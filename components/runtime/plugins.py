"""Registries of classes found by folder: a new interaction, fusion, sampler or loss is a new file."""

import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib import import_module
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, get_origin

from class_resolver import ClassResolver
from class_resolver.base import RegistrationNameConflict
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, WithJsonSchema, create_model

from mmkgc.components.runtime.errors import UserError, did_you_mean

Base = TypeVar("Base")


class Entry(NamedTuple):
    """Listing entry of a class: name, first sentence, and hyper-parameters with defaults."""

    name: str
    summary: str
    parameters: dict[str, Any]


class Registry(Generic[Base]):
    """The concrete subclasses of ``base`` in the modules of ``package``, by name.

    A class is selected by its name, ignoring case, hyphens and underscores, and listed under its file's name; both must
    be the same: ``MANSV`` in ``mans_v.py`` is ``mans-v``. The **keyword-only** constructor arguments are the
    hyper-parameters, set in a recipe and validated by pydantic; positional arguments are supplied by the run.
    """

    def __init__(self, kind: str, base: type[Base], package: str) -> None:
        self.kind, self.base, self.package = kind, base, package

    @cached_property
    def _resolver(self) -> ClassResolver[Base]:
        for module in pkgutil.iter_modules(import_module(self.package).__path__):
            import_module(f"{self.package}.{module.name}")
        for choice in filter(self._is_own, _leaves(self.base)):
            _refuse_unfinished(choice)
        try:
            found = ClassResolver.from_subclasses(self.base, exclude_predicate=self._is_no_choice)
        except RegistrationNameConflict as error:
            raise UserError(self.package, f"two classes have one name: {error.args[0]}", "rename one") from error
        for choice in found.lookup_dict.values():
            self._check(choice, found)
        return found

    def _check(self, choice: type[Base], found: ClassResolver[Base]) -> None:
        """Raise UserError for a class that a recipe could not name, or whose hyper-parameters it could not set."""
        module, name = choice.__module__.rpartition(".")[2], found.normalize(choice.__name__)
        others = [other.__name__ for other in found.lookup_dict.values() if other.__module__ == choice.__module__]
        if len(others) > 1:
            raise UserError(f"{module}.py", f"it defines {' and '.join(sorted(others))}", "make one file of each")
        if found.normalize(module) != name:
            raise UserError(f"{module}.py", f"it defines {choice.__name__}", f"name the file {name}.py")
        for parameter in _hyper_parameters(choice):
            if inspect.Parameter.empty in (parameter.annotation, parameter.default):
                what = f"the hyper-parameter '{parameter.name}' of {choice.__name__} lacks a type or a default"
                raise UserError(f"{module}.py", what, "give it both")

    def _is_no_choice(self, found: type) -> bool:
        """Whether a class is abstract or defined in another package."""
        return inspect.isabstract(found) or not self._is_own(found)

    def _is_own(self, found: type) -> bool:
        """Whether a class is defined in a module of the package."""
        return found.__module__.rpartition(".")[0] == self.package

    def classes(self) -> dict[str, type[Base]]:
        """Every class by its name, in alphabetical order."""
        return dict(sorted((_name(found), found) for found in self._resolver.lookup_dict.values()))

    def lookup(self, name: str) -> type[Base]:
        """The class called ``name``; ``ValueError`` with the nearest name if there is none."""
        found = self._resolver.lookup_dict.get(self._resolver.normalize(name))
        if found is None:
            raise ValueError(f"unknown {self.kind} '{name}' — {did_you_mean(name, self.classes())}")
        return found

    def resolve(self, choice: str | Mapping[str, Any]) -> dict[str, Any]:
        """Check a recipe's choice, ``name`` or ``{name: …, hyper-parameter: …}``, and fill in the defaults."""
        given = {"name": choice} if isinstance(choice, str) else dict(choice) if isinstance(choice, Mapping) else {}
        if not isinstance(given.get("name"), str):
            raise ValueError(f"name the {self.kind}: one of {', '.join(self.classes())}")
        found = self.lookup(given.pop("name"))
        try:
            parameters = hyper_parameters(found).model_validate(given).model_dump()
        except ValidationError as error:
            raise ValueError(_explain(error, found)) from None
        return {"name": _name(found), **parameters}

    def create(self, choice: str | Mapping[str, Any], *context: Any) -> Base:
        """Create an instance of the chosen class with the positional arguments ``context``."""
        parameters = self.resolve(choice)
        return self.lookup(parameters.pop("name"))(*context, **parameters)

    def annotate(self) -> tuple[BeforeValidator, WithJsonSchema]:
        """Annotations that make a pydantic field of type ``dict`` a choice of this registry."""
        names = {"enum": list(self.classes())}
        named = {"type": "object", "properties": {"name": names}, "required": ["name"]}
        return BeforeValidator(self.resolve), WithJsonSchema({"anyOf": [names, named]})

    def entries(self) -> list[Entry]:
        """The listing of this registry."""
        return [
            Entry(name, (found.__doc__ or "").partition("\n")[0], hyper_parameters(found)().model_dump())
            for name, found in self.classes().items()
        ]


def hyper_parameters(found: type) -> type[BaseModel]:
    """The pydantic model of a class's keyword-only constructor arguments."""
    fields: dict[str, Any] = {
        parameter.name: (parameter.annotation, parameter.default) for parameter in _hyper_parameters(found)
    }
    return create_model(found.__name__, __config__=ConfigDict(extra="forbid", allow_inf_nan=False), **fields)


def _leaves(base: type) -> Iterator[type]:
    """Subclasses of ``base`` that have no subclasses themselves: a base class may be abstract, these may not."""
    subclasses: list[type] = base.__subclasses__()
    for found in subclasses:
        if found.__subclasses__():
            yield from _leaves(found)
        else:
            yield found


def _refuse_unfinished(found: type) -> None:
    """Raise UserError for a class that lacks a method or a class attribute which its base classes ask for."""
    declared = [item for parent in found.__mro__ for item in inspect.get_annotations(parent).items()]
    missing = {name for name, annotation in declared if get_origin(annotation) is ClassVar and not hasattr(found, name)}
    missing |= getattr(found, "__abstractmethods__", frozenset())
    if missing:
        what = f"{found.__name__} does not define {' and '.join(sorted(missing))}"
        raise UserError(f"{found.__module__.rpartition('.')[2]}.py", what, "its base class says what they are")


def _hyper_parameters(found: type) -> list[inspect.Parameter]:
    parameters = inspect.signature(found, eval_str=True).parameters.values()
    return [parameter for parameter in parameters if parameter.kind is inspect.Parameter.KEYWORD_ONLY]


def _name(found: type) -> str:
    return found.__module__.rpartition(".")[2].replace("_", "-")


def _explain(error: ValidationError, found: type) -> str:
    """The first validation error in one sentence, with the nearest name for an unknown hyper-parameter."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] != "extra_forbidden":
        return f"{_name(found)}.{where}: {first['msg']}"
    allowed = hyper_parameters(found).model_fields
    mend = did_you_mean(where, allowed) if allowed else "it has none"
    return f"{_name(found)} has no hyper-parameter '{where}' — {mend}"
