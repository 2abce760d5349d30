"""Model → ranked missing triples."""

from kfp import dsl

from mmkgc.components.runtime.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def propose(
    bundle: dsl.Input[dsl.Model],
    registration: dsl.Input[dsl.Artifact],
    config: str,
    proposals: dsl.Output[dsl.Dataset],
) -> None:
    """Model → ranked missing triples."""
    from mmkgc.components.propose.propose import ProposeConfig, propose
    from mmkgc.components.runtime.artifacts import stored_uri
    from mmkgc.feature_store.storage import open_storage

    settings = ProposeConfig.model_validate_json(config)
    propose(stored_uri(bundle), stored_uri(registration), settings, open_storage()).describe(proposals)
