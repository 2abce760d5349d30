"""Model → the archive that TorchServe loads."""

from kfp import dsl

from mmkgc.components.runtime.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def package(
    graph: dsl.Input[dsl.Dataset], bundle: dsl.Input[dsl.Model], config: str, code: str, archive: dsl.Output[dsl.Model]
) -> None:
    """Model → the archive that TorchServe loads."""
    from mmkgc.components.package.package import PackageConfig, package
    from mmkgc.feature_store.storage import open_storage

    package(bundle.uri, graph.uri, PackageConfig.model_validate_json(config), open_storage()).describe(archive)
