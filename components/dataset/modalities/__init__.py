"""Registry of the modalities, one per file."""

from typing import Annotated

from pydantic import AfterValidator

from mmkgc.components.dataset.modalities.base import Modality
from mmkgc.components.runtime.errors import did_you_mean
from mmkgc.components.runtime.plugins import Registry

REGISTRY = Registry("modality", Modality, __name__)
MODALITIES: dict[str, Modality] = {name: found() for name, found in REGISTRY.classes().items()}
MODALITY_FILES = tuple(modality.file for modality in MODALITIES.values() if modality.file)
"""Files of a dataset folder besides the triples and the tables of entities and relations."""


def _known(name: str) -> str:
    if name not in MODALITIES:
        raise ValueError(f"unknown modality '{name}', {did_you_mean(name, MODALITIES)}")
    return name


ModalityName = Annotated[str, AfterValidator(_known)]
