"""The features that a model is trained on, as its configuration wants them."""

from collections.abc import Mapping, Sequence

from mmkgc.components.kge.features import Features
from mmkgc.components.train.config import TrainConfig
from mmkgc.feature_store.reader import load_features
from mmkgc.feature_store.storage import Storage


def training_features(
    uris: Mapping[str, str], keys: Sequence[str], config: TrainConfig, storage: Storage
) -> dict[str, Features]:
    """Features of the entities ``keys`` by modality, without those that ``drop_modality`` takes away."""
    drop = {str(m): share for m, share in config.drop_modality.items()}
    return {m: load_features(uri, keys, storage, drop.get(m, 0.0), config.seed) for m, uri in uris.items()}
