"""Open the store that a run uses."""

from mmkgc.feature_store.storage import Storage, StorageConfig


def open_storage(root: str | None = None) -> Storage:
    """Open the store at ``root``, by default the one set in the environment (``runtime.settings``)."""
    config = StorageConfig.from_env(root)
    if config.root.startswith("s3://"):
        from mmkgc.feature_store.s3 import S3Storage

        return S3Storage(config)
    from mmkgc.feature_store.local import LocalStorage

    return LocalStorage(config.root)
