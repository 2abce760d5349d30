"""``mmkgc list``: lists everything that a recipe can name."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from mmkgc.components.runtime.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from mmkgc.components.dataset.modalities.base import Modality
    from mmkgc.components.runtime.plugins import Entry


@click.command()
@click.argument("kind", required=False)
def list_(kind: str | None) -> None:
    """Show what a recipe can name: recipes, systems, modalities, encoders, and the parts of a model and its training.

    With KIND, show that kind alone, with every hyper-parameter and its default; of a system its paper, what it needs
    and its recipes.
    """
    kinds = {**LIGHT, **dict.fromkeys(map(_plural, CLASSES))}
    if kind is not None and not any(_names(kind, name) for name in kinds):
        raise UserError(f"mmkgc list {kind}", "no such kind", did_you_mean(kind, kinds))
    for name in kinds:
        if kind is None or _names(kind, name):
            click.secho(name, bold=True)
            entries = _detailed(name) if kind is not None else _entries(name)
            width = max(len(entry.name) for entry in entries)
            for entry in entries:
                _print_entry(*entry, width=width, details=kind is not None)


def _recipes() -> "list[Entry]":
    from mmkgc.components.runtime.plugins import Entry
    from mmkgc.pipeline import composition

    return [Entry(name, summary, {}) for name, summary in composition.summaries().items()]


def _modalities() -> "list[Entry]":
    from mmkgc.components.dataset.modalities import MODALITIES
    from mmkgc.components.runtime.plugins import Entry

    return [Entry(name, _summary(type(found)), _described(found)) for name, found in MODALITIES.items()]


def _encoders() -> "list[Entry]":
    from mmkgc.components.encoders.registry import encoders
    from mmkgc.components.runtime.plugins import Entry

    found = {encoders.normalize_cls(encoder): encoder for encoder in sorted(encoders, key=lambda cls: cls.__name__)}
    return [
        Entry(name, _summary(cls), {"modality": cls.modality} | _defaults(cls.Config)) for name, cls in found.items()
    ]


def _systems() -> "list[Entry]":
    from mmkgc.components.runtime.plugins import Entry
    from mmkgc.pipeline import composition

    return [Entry(name, composition.summary(name), _of_system(name)) for name in composition.stems(composition.SYSTEMS)]


def _studies() -> "list[Entry]":
    from mmkgc.components.runtime.plugins import Entry
    from mmkgc.pipeline import composition

    files = ((name, composition.STUDIES / f"{name}.yaml") for name in composition.stems(composition.STUDIES))
    texts = ((name, composition.parse(path.read_text(encoding="utf-8"), path)) for name, path in files)
    return [Entry(name, values.get("about", ""), {}) for name, values in texts]


def _of_system(name: str) -> dict[str, Any]:
    from mmkgc.pipeline import systems

    about = systems.about(name)
    return {"paper": about.reference, "needs": about.needs, "recipes": ", ".join(systems.recipes_of(name))}


def _of_study(name: str) -> tuple[str, dict[str, Any]]:
    from mmkgc.pipeline.studies import config

    study = config.load(name)[1]
    shown = {"systems": ", ".join(study.systems), "values": ", ".join(map(str, filter(None, study.values)))}
    return study.about, {key: text for key, text in shown.items() if text} | {"measures": ", ".join(study.measure)}


LIGHT: "dict[str, Callable[[], list[Entry]]]" = {
    "recipes": _recipes,
    "systems": _systems,
    "studies": _studies,
    "modalities": _modalities,
}
"""Kinds whose names and summaries do not need PyTorch."""
CLASSES = {
    "encoder": ("components/encoders", "Encoder"),
    "entity encoder": ("components/kge/entity_encoders", "EntityEncoder"),
    "interaction": ("components/kge/interactions", "Interaction"),
    "fusion": ("components/kge/fusions", "Fusion"),
    "sampler": ("components/kge/negatives", "NegativeSampler"),
    "loss": ("components/kge/losses", "Loss"),
    "regularizer": ("components/kge/regularizers", "Regularizer"),
}
"""Folder and base class of the other kinds, whose names and summaries are read from the sources."""


def _entries(kind: str) -> "list[Entry]":
    """Entries of a kind without hyper-parameters, found without importing PyTorch."""
    from mmkgc.components.runtime.plugins import Entry
    from mmkgc.components.runtime.sources import summaries

    if kind in LIGHT:
        return LIGHT[kind]()
    folder, base = next(where for singular, where in CLASSES.items() if _plural(singular) == kind)
    form, declares = ("", "Config") if kind == "encoders" else ("-", "")
    return [Entry(name.replace("_", form), summary, {}) for name, summary in summaries(folder, base, declares).items()]


def _detailed(kind: str) -> "list[Entry]":
    """Entries of a kind with their hyper-parameters."""
    from mmkgc.components.runtime.plugins import Entry

    if kind == "studies":
        return [Entry(entry.name, *_of_study(entry.name)) for entry in _studies()]
    if kind in LIGHT:
        return LIGHT[kind]()
    if kind == "encoders":
        return _encoders()
    from mmkgc.components.kge.listing import listing

    return next(entries for singular, entries in listing().items() if _plural(singular) == kind)


def _described(modality: "Modality") -> dict[str, Any]:
    """A modality's source in a dataset, its encoder, and how a query or option gives its contents."""
    return {
        "dataset": modality.source,
        "encoder": modality.encoder + ("" if modality.default else f", with extract.{modality.name}.encoder"),
        "field of a query": f'"{modality.field}"',
        "option of mmkgc complete": f"{modality.option} {modality.metavar}",
    }


def _summary(found: type) -> str:
    return (found.__doc__ or "").partition("\n")[0]


def _defaults(config: Any) -> dict[str, Any]:
    return {
        name: "(required)" if field.is_required() else field.get_default(call_default_factory=True)
        for name, field in config.model_fields.items()
        if name != "encoder"
    }


def _names(given: str, kind: str) -> bool:
    """Whether ``given`` is the plural ``kind`` or its singular, also with hyphens, or the recipe's key of the kind."""
    if given == "negatives":
        return kind == "samplers"
    return given.replace("-", " ") in (kind, kind.removesuffix("s"), kind.removesuffix("es"))


def _plural(kind: str) -> str:
    return f"{kind}es" if kind.endswith("s") else f"{kind}s"


def _print_entry(name: str, summary: str, parameters: dict[str, Any], width: int, details: bool) -> None:
    click.echo(f"  {name:<{width}}  {summary}")
    for parameter, default in parameters.items() if details else ():
        click.echo(f"  {'':<{width}}    {parameter}: {default}")
