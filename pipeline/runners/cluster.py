"""What a step needs on a Kubeflow cluster only: where storage and MLflow are, and which run it belongs to."""

from kfp import kubernetes
from kfp.dsl import PipelineTask

CONFIG = "mmkgc"
CONFIG_KEYS = ("MMKGC_STORAGE", "MLFLOW_TRACKING_URI", "AWS_ENDPOINT_URL", "AWS_REGION")
SECRET = "mmkgc-s3"
SECRET_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
DATABASE_SECRET, PASSWORD = "mmkgc-postgresql", "PGPASSWORD"
RUN_LABEL = "metadata.labels['pipeline/runid']"


def prepare(task: PipelineTask) -> None:
    """Add the environment of ``mmkgc.components.runtime.settings`` and ``mmkgc.components.runtime.tracking`` to a task.

    The run's id is an environment variable from the pod's label and not a parameter: a parameter would be part of the
    cache key, and no step would ever be found in the cache.
    """
    kubernetes.use_config_map_as_env(task, CONFIG, {key: key for key in CONFIG_KEYS})
    kubernetes.use_secret_as_env(task, SECRET, {key: key for key in SECRET_KEYS})
    kubernetes.use_secret_as_env(task, DATABASE_SECRET, {PASSWORD: PASSWORD}, optional=True)  # of ``search.storage``
    kubernetes.use_field_path_as_env(task, "MMKGC_PIPELINE_RUN", RUN_LABEL)
    task.set_retry(num_retries=2, backoff_duration="30s", backoff_factor=2.0)
