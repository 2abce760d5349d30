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
    from mmkgc.feature_store.storage import open_storage

    propose(bundle.uri, registration.uri, ProposeConfig.model_validate_json(config), open_storage()).describe(proposals)
