"""Raw graph → checked MMKG with a clean development split."""

from kfp import dsl

from mmkgc.components.runtime.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def ingest(dataset: str, config: str, data: str, code: str, graph: dsl.Output[dsl.Dataset]) -> None:
    """Raw graph → checked MMKG with a clean development split."""
    from mmkgc.components.ingest.ingest import IngestConfig, ingest
    from mmkgc.feature_store.opening import open_storage

    ingest(dataset, IngestConfig.model_validate_json(config), open_storage()).describe(graph)
