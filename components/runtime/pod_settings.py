"""What every pod of a run needs: the cluster's addresses and passwords, and places to write to."""

CONFIG = "mmkgc"
CONFIG_KEYS = ("MMKGC_STORAGE", "MLFLOW_TRACKING_URI")
OPTIONAL_CONFIG_KEYS = ("AWS_ENDPOINT_URL", "AWS_REGION", "MMKGC_S3_PATH_STYLE")
OPTIONAL_SECRETS = {
    "mmkgc-s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),  # not needed if a service account grants access
    "mmkgc-mlflow": ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"),
    "mmkgc-postgresql": ("PGPASSWORD",),  # of ``search.storage``
}
WRITABLE = {"MMKGC_HOME": "/tmp/mmkgc", "NUMBA_CACHE_DIR": "/tmp/numba", "HOME": "/tmp"}
"""A pod may have any UID and a read-only root file system, so all files are written to the volume /tmp."""
