"""What infra/README.md names is there: files, keys of recipes and of clusters.yaml, variables, objects."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from mmkgc.pipeline.pods import DEFAULTS, ClusterConfig, Pod
from mmkgc.pipeline.runners.clusters import Cluster

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "infra" / "README.md").read_text()
NAMES = set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL)))


def test_files_and_folders_are_there():
    places = (ROOT, ROOT / "infra", ROOT / "infra" / "kubernetes")
    named = {name for name in NAMES if re.fullmatch(r"[\w.-]+(/[\w.-]+)*/?", name) and ("/" in name or "." in name)}
    measures = {"process/peak_memory_gib", "process/cpu_seconds"}
    elsewhere = {"clusters.yaml", "train.nodes", "cluster.STEP.memory"}
    files = named - measures - elsewhere
    assert {"compose.yaml", "base/network", "tests/services/kubeflow", "pipeline/pods.py"} <= files
    assert [name for name in files if not any((place / name).exists() for place in places)] == []


def test_keys_of_the_part_cluster_are_all_named():
    part = TEXT.partition("Pods request what the recipe's part `cluster:` states")[2].partition("Defaults:")[0]
    named = set(re.findall(r"`([a-z_]+)`", part))
    whole = {name for name in ClusterConfig.model_fields if name.rstrip("_") not in DEFAULTS}
    assert named == {*Pod.model_fields, *whole}


def test_the_example_of_clusters_yaml_is_one():
    (example,) = [block for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL) if "clusters:" in block]
    known = yaml.safe_load(example)
    for cluster in known["clusters"].values():
        Cluster.model_validate(cluster)
    assert known["default"] in known["clusters"]


def test_variables_are_read_by_the_code_or_stand_in_the_manifests():
    named = set(re.findall(r"\b(?:MMKGC|MLFLOW|KFP)_[A-Z_0-9]+\b", TEXT))
    assert "MMKGC_PATIENCE_SECONDS" in named
    folders = ["components", "pipeline", "serving", "feature_store", "infra/kubernetes"]
    for name in named:
        found = subprocess.run(["grep", "-rqw", name, *folders], cwd=ROOT, check=False)
        assert found.returncode == 0, name


@pytest.mark.service("kubectl")
def test_commands_for_kubernetes_name_objects_of_the_manifests(overlay):
    manifests = overlay("prod/services")
    assert set(re.findall(r"deployment/([\w-]+)", TEXT)) == {"mlflow"} <= set(manifests.of("Deployment"))
    pods = re.findall(r"exec (?:-i )?([\w-]+)-0 --", TEXT)
    assert {*pods} == {"postgresql"} <= set(manifests.of("StatefulSet"))
    assert set(re.findall(r"kubectl -n (\w+) (?:exec|scale|rollout)", TEXT)) == set(manifests.of("Namespace"))
