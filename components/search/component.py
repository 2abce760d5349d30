"""Search space → the hyper-parameters with the best development MRR."""

from kfp import dsl

from mmkgc.components.runtime.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def search(
    graph: dsl.Input[dsl.Dataset],
    train: str,
    config: str,
    best: dsl.Output[dsl.Artifact],
    visual: dsl.Input[dsl.Dataset] | None = None,
    textual: dsl.Input[dsl.Dataset] | None = None,
    numeric: dsl.Input[dsl.Dataset] | None = None,
    worker: int = 0,
) -> None:
    """Search space → the hyper-parameters with the best development MRR."""
    from mmkgc.components.runtime.artifacts import stored_uri, stored_uris
    from mmkgc.components.search.search import SearchConfig, TrainConfig, search
    from mmkgc.feature_store.storage import open_storage

    search(
        stored_uri(graph),
        stored_uris(visual=visual, textual=textual, numeric=numeric),
        TrainConfig.model_validate_json(train),
        SearchConfig.model_validate_json(config),
        open_storage(),
        worker=worker,
    ).describe(best)
