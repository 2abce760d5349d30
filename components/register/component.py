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
    from mmkgc.components.runtime.artifacts import stored_uri
    from mmkgc.feature_store.storage import open_storage

    settings = RegisterConfig.model_validate_json(config)
    inputs = stored_uri(graph), stored_uri(bundle), stored_uri(evaluation)
    register(*inputs, settings, open_storage()).describe(registration)
