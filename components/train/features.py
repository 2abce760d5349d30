"""The features that a model is trained on, as its configuration wants them."""

from collections.abc import Mapping, Sequence

from mmkgc.components.kge.features import Features
from mmkgc.components.train.config import TrainConfig
from mmkgc.feature_store.manifest import Manifest
from mmkgc.feature_store.parts import USABLE
from mmkgc.feature_store.reader import load_features
from mmkgc.feature_store.storage import Storage


def used(uris: Mapping[str, str], config: TrainConfig, storage: Storage) -> dict[str, str]:
    """Those manifests, by modality, whose vectors the model or the sampler uses, sorted.

    A modality that no entity has is left out, and told: some models fill missing vectors with random numbers, and would
    be trained on nothing else.
    """
    found = {}
    for modality, uri in sorted(uris.items()):
        if not config.uses(modality):
            continue
        counts = Manifest.read(uri, storage).counts
        if any(counts.get(status) for status in USABLE):
            found[modality] = uri
        else:
            print(f"train leaves out the {modality} features: no entity has one", flush=True)
    return found


def training_features(
    uris: Mapping[str, str], keys: Sequence[str], config: TrainConfig, storage: Storage
) -> dict[str, Features]:
    """Features of the entities ``keys`` by modality, without those that ``drop_modality`` takes away."""
    drop = {str(m): share for m, share in config.drop_modality.items()}
    return {m: load_features(uri, keys, storage, drop.get(m, 0.0), config.seed) for m, uri in uris.items()}
