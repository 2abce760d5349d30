"""The manifests name what the compiled pipeline asks for."""

from pathlib import Path

import kubernetes_validate
import yaml

from mmkgc.pipeline.runners import cluster

MANIFESTS = list(yaml.safe_load_all((Path(__file__).parents[2] / "infra/kubernetes/mmkgc.yaml").read_text()))


def test_manifests_are_valid_kubernetes():
    for manifest in MANIFESTS:
        kubernetes_validate.validate(manifest, "1.34", strict=True)


def test_every_variable_of_the_steps_has_a_source():
    config, *secrets = MANIFESTS
    assert config["metadata"]["name"] == cluster.CONFIG
    assert set(cluster.CONFIG_KEYS) <= set(config["data"]) <= {*cluster.CONFIG_KEYS, *cluster.OPTIONAL_CONFIG_KEYS}
    assert [secret["metadata"]["name"] for secret in secrets] == list(cluster.OPTIONAL_SECRETS)
    for secret in secrets:
        assert set(secret["stringData"]) <= set(cluster.OPTIONAL_SECRETS[secret["metadata"]["name"]])
