"""Encoders by name: every encoder class in this folder can be named in a recipe."""

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Annotated, Any, Union

from class_resolver import ClassResolver
from pydantic import Field

import mmkgc.components.encoders
from mmkgc.components.encoders.base import Encoder, EncoderConfig, EncoderSpec
from mmkgc.components.runtime.errors import UserError

for _module in iter_modules(mmkgc.components.encoders.__path__):
    import_module(f"mmkgc.components.encoders.{_module.name}")

encoders: ClassResolver[Encoder] = ClassResolver.from_subclasses(
    Encoder,
    suffix="",
    exclude_predicate=lambda found: not hasattr(found, "Config"),  # a base class
)


for _found in ClassResolver.from_subclasses(
    Encoder, suffix="", exclude_predicate=lambda found: bool(found.__subclasses__())
):
    _missing = [*getattr(_found, "__abstractmethods__", ()), *({"Config", "modality"} - set(dir(_found)))]
    if _missing:
        _what = f"the encoder {_found.__name__} does not define {' and '.join(sorted(_missing))}"
        raise UserError(f"{_found.__module__.rpartition('.')[2]}.py", _what, "see `Encoder` in base.py")


def chosen(value: Any) -> Any:
    """A recipe's choice of an encoder: its name alone, or a mapping; case, hyphens and underscores do not count."""
    value = {"encoder": value} if isinstance(value, str) else value
    if isinstance(value, Mapping) and encoders.normalize(str(value.get("encoder"))) in encoders.lookup_dict:
        return {**value, "encoder": encoders.normalize(value["encoder"])}
    return value


def configs(modality: str) -> Any:
    """Type of the encoder configurations of a modality, discriminated by the key ``encoder``."""
    found = sorted(encoders, key=lambda encoder: encoder.__name__)
    options = tuple(encoder.Config for encoder in found if encoder.modality == modality)
    if len(options) == 1:  # pydantic needs two or more to discriminate
        return options[0]
    return Annotated[Union[options], Field(discriminator="encoder")]  # noqa: UP007 - built from the files found


def create(config: EncoderConfig) -> Encoder:
    """The encoder that ``config`` describes; its network is built on first use."""
    return encoders.lookup(config.encoder)(config)


def recreate(spec: dict[str, Any]) -> Encoder:
    """Create the encoder of a stored identity, for vectors of new entities.

    Raises UserError if the local weights are not those of the identity.
    """
    if encoders.normalize(spec["encoder"]) not in encoders.lookup_dict:
        raise UserError(spec["encoder"], "no encoder made these features", "give vectors for unseen entities instead")
    stored = EncoderSpec.model_validate(spec)
    shared = stored.model_dump(include={"encoder", "weights", "revision", "output", "precision"})
    Config = encoders.lookup(stored.encoder).Config
    encoder = create(Config.model_validate(shared | {"seed": stored.seed or 0} | stored.options))
    if encoder.spec.sha256 != stored.sha256:
        raise UserError(
            stored.weights, "these are not the weights that the features were made with",
            "put the same file into $MMKGC_WEIGHTS",
        )  # fmt: skip
    return encoder
