"""Model → a version in the MLflow registry, promoted if the gate lets it."""

from kfp import dsl

from mmkgc.components.runtime.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def register(
    graph: dsl.Input[dsl.Dataset],
    bundle: dsl.Input[dsl.Model],
    evaluation: dsl.Input[dsl.Artifact],
    config: str,
    registration: dsl.Output[dsl.Artifact],
) -> None:
    """Model → a version in the MLflow registry, promoted if the gate lets it."""
    from mmkgc.components.register.register import RegisterConfig, register
    from mmkgc.feature_store.storage import open_storage

    register(
        graph.uri, bundle.uri, evaluation.uri, RegisterConfig.model_validate_json(config), open_storage()
    ).describe(registration)
