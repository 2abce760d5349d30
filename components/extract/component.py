"""Images, texts or numbers of the entities → feature vectors."""

from kfp import dsl

from mmkgc.components.runtime.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def extract(
    graph: dsl.Input[dsl.Dataset], modality: str, config: str, code: str, features: dsl.Output[dsl.Dataset]
) -> None:
    """Images, texts or numbers of the entities → feature vectors."""
    from mmkgc.components.extract.extract import ExtractConfig, extract
    from mmkgc.components.runtime.artifacts import stored_uri
    from mmkgc.feature_store.opening import open_storage

    settings = ExtractConfig.model_validate_json(config)
    extract(stored_uri(graph), modality, settings, open_storage()).describe(features)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def extract_shard(graph: dsl.Input[dsl.Dataset], modality: str, config: str, shard: int, code: str) -> None:
    """A share of the images or texts → vectors in the feature store, where the step after all shards finds them."""
    from mmkgc.components.extract.extract import ExtractConfig, extract_shard
    from mmkgc.components.runtime.artifacts import stored_uri
    from mmkgc.feature_store.opening import open_storage

    extract_shard(stored_uri(graph), modality, ExtractConfig.model_validate_json(config), shard, open_storage())
