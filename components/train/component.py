"""Graph and features → the model with the best development MRR."""

from kfp import dsl

from mmkgc.components.runtime.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train(
    graph: dsl.Input[dsl.Dataset],
    config: str,
    code: str,
    bundle: dsl.Output[dsl.Model],
    visual: dsl.Input[dsl.Dataset] | None = None,
    textual: dsl.Input[dsl.Dataset] | None = None,
    numeric: dsl.Input[dsl.Dataset] | None = None,
    best: dsl.Input[dsl.Artifact] | None = None,
    workspace: str = "",
) -> None:
    """Graph and features → the model with the best development MRR."""
    from pathlib import Path

    from mmkgc.components.runtime.artifacts import stored_uri, stored_uris
    from mmkgc.components.train.train import TrainConfig, train
    from mmkgc.components.train.trainjob import train_on_nodes
    from mmkgc.feature_store.opening import open_storage

    settings = TrainConfig.model_validate_json(config)
    features = stored_uris(visual=visual, textual=textual, numeric=numeric)
    searched = stored_uris(best=best).get("best")
    kept = Path(workspace) if workspace else None
    if settings.nodes > 1:
        train_on_nodes(stored_uri(graph), features, settings, open_storage(), searched).describe(bundle)
    else:
        train(stored_uri(graph), features, settings, open_storage(), kept, searched).describe(bundle)
