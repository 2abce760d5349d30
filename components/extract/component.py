"""Images or texts of the entities → feature vectors."""

from kfp import dsl

from components.runtime.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def extract(
    graph: dsl.Input[dsl.Dataset], modality: str, config: str, code: str, features: dsl.Output[dsl.Dataset]
) -> None:
    """Images or texts of the entities → feature vectors."""
    from components.extract.extract import ExtractConfig, extract
    from feature_store.storage import open_storage

    extract(graph.uri, modality, ExtractConfig.model_validate_json(config), open_storage()).describe(features)
