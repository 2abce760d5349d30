"""Model → the archive that TorchServe loads."""

from kfp import dsl

from mmkgc.components.runtime.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def package(
    graph: dsl.Input[dsl.Dataset], bundle: dsl.Input[dsl.Model], config: str, code: str, archive: dsl.Output[dsl.Model]
) -> None:
    """Model → the archive that TorchServe loads."""
    from mmkgc.components.package.package import PackageConfig, package
    from mmkgc.components.runtime.artifacts import stored_uri
    from mmkgc.feature_store.storage import open_storage

    settings = PackageConfig.model_validate_json(config)
    package(stored_uri(bundle), stored_uri(graph), settings, open_storage()).describe(archive)
