from tests.services.kubeflow.fixtures import cluster, kubeflow, s3_endpoint  # noqa: F401
