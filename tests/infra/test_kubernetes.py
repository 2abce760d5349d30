"""The manifests are valid, keep the rules of a cautious cluster, and refer to nothing that is missing."""

import json
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest

from tests.infra.conftest import KUBERNETES, Manifests, render

pytestmark = pytest.mark.service("kubectl")
SCHEMAS = Path(__file__).parent / "schemas"
OVERLAYS = ("dev/steps", "dev/services", "prod/steps", "prod/services")
SERVICES = ("dev/services", "prod/services")


def validate(manifest):
    """Check against Kubernetes's schema, or our own of a kind that it does not know."""
    own = SCHEMAS / f"{manifest['kind']}.json"
    if own.exists():
        jsonschema.validate(manifest, json.loads(own.read_text()))
    else:
        kubernetes_validate.validate(manifest, "1.34", strict=True)


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_object_is_valid(overlay, name):
    for manifest in overlay(name).objects:
        validate(manifest)
        assert manifest["kind"] in ("Namespace",) or manifest["metadata"]["namespace"]


@pytest.mark.parametrize("kind", ["ServiceMonitor", "ExternalSecret", "InferenceService"])
def test_a_misspelt_key_of_a_foreign_kind_is_refused(overlay, kserve, kind):
    manifest = json.loads(
        json.dumps(next(iter((kserve if kind == "InferenceService" else overlay("prod/services")).of(kind).values())))
    )
    validate(manifest)
    manifest["spec"]["misspelt"] = 1
    with pytest.raises(jsonschema.ValidationError):
        validate(manifest)


@pytest.mark.parametrize("name", SERVICES)
def test_pods_keep_the_restricted_security_standard(overlay, name):
    manifests = overlay(name)
    assert (
        manifests.of("Namespace")["mmkgc"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    )
    for pod in manifests.pods().values():
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False, "nothing here calls Kubernetes"
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            context = container["securityContext"]
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}
            resources = container["resources"]
            assert resources["limits"]["memory"] == resources["requests"]["memory"], "memory cannot be taken back"
            assert set(resources["requests"]) == {"cpu", "memory"}


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_pod_refers_to_exists(overlay, name):
    manifests = overlay(name)
    configs = {config: set(each["data"]) for config, each in manifests.of("ConfigMap").items()}
    secrets = {secret: set(each["stringData"]) for secret, each in overlay("dev/services").of("Secret").items()}
    assert set(secrets) == set(manifests.of("Secret", "ExternalSecret")), "plain or from a vault: the same secrets"
    for pod, container in manifests.containers():
        for source in container.get("envFrom", []):
            assert source.get("configMapRef", {"name": "mmkgc"})["name"] in configs
            assert source.get("secretRef", {"name": "mmkgc-s3"})["name"] in secrets
        for variable in container.get("env", []):
            for kind, there in (("configMapKeyRef", configs), ("secretKeyRef", secrets)):
                if ref := variable.get("valueFrom", {}).get(kind):
                    assert ref["key"] in there[ref["name"]] or ref.get("optional"), (pod, variable)
        volumes = {volume["name"] for volume in manifests.pods()[pod]["spec"].get("volumes", [])}
        volumes |= {
            claim["metadata"]["name"]
            for claim in manifests.of("StatefulSet").get(pod, {"spec": {}})["spec"].get("volumeClaimTemplates", [])
        }
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
    for pod in manifests.pods().values():
        for volume in pod["spec"].get("volumes", []):
            if "configMap" in volume:
                assert volume["configMap"]["name"] in configs
            for item in volume.get("secret", {}).get("items", []):
                assert item["key"] in secrets[volume["secret"]["secretName"]]


@pytest.mark.parametrize("name", SERVICES)
def test_services_budgets_and_autoscalers_select_a_pod(overlay, name):
    manifests = overlay(name)
    pods = manifests.pods()
    labels = {pod: each["metadata"]["labels"] for pod, each in pods.items()}
    ports = {
        pod: {port["name"] for c in each["spec"]["containers"] for port in c["ports"]} for pod, each in pods.items()
    }
    for service in manifests.of("Service").values():
        (pod,) = [pod for pod in pods if service["spec"]["selector"].items() <= labels[pod].items()]
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports[pod]
    for budget in manifests.of("PodDisruptionBudget").values():
        assert budget["spec"]["selector"]["matchLabels"] in labels.values()
    for scaler in manifests.of("HorizontalPodAutoscaler").values():
        assert "replicas" not in manifests.of("Deployment")[scaler["spec"]["scaleTargetRef"]["name"]]["spec"]
    services = {
        service: {port["name"] for port in each["spec"]["ports"]} for service, each in manifests.of("Service").items()
    }
    for ingress in manifests.of("Ingress").values():
        for rule in ingress["spec"]["rules"]:
            backend = rule["http"]["paths"][0]["backend"]["service"]
            assert backend["port"]["name"] in services[backend["name"]]


@pytest.fixture(scope="session")
def kserve(overlay, tmp_path_factory):
    """The prod overlay with KServe."""
    overlay("prod/services")
    folder = tmp_path_factory.mktemp("kserve") / "infra"
    import shutil

    shutil.copytree(KUBERNETES, folder)
    file = folder / "overlays" / "prod" / "services" / "kustomization.yaml"
    text = file.read_text()
    assert "  # - ../../../components/kserve" in text
    file.write_text(text.replace("  # - ../../../components/kserve", "  - ../../../components/kserve"))
    return Manifests(render(file.parent))


def test_kserve_runs_the_container_of_the_deployment_in_its_place(overlay, kserve):
    assert "mmkgc-serve" not in kserve.of("Deployment", "HorizontalPodAutoscaler")
    (ours,) = overlay("dev/services").pods()["mmkgc-serve"]["spec"]["containers"]
    predictor = kserve.of("InferenceService")["mmkgc-serve"]["spec"]["predictor"]
    (theirs,) = predictor["containers"]
    assert theirs["image"].startswith("registry.example.org/mmkgc-serve@sha256:")
    assert ours | {"name": "kserve-container", "image": theirs["image"]} == theirs
    pod = overlay("dev/services").pods()["mmkgc-serve"]["spec"]
    for key in ("securityContext", "volumes", "terminationGracePeriodSeconds", "automountServiceAccountToken"):
        assert predictor[key] == pod[key]


def test_in_production_images_are_named_by_digest(overlay):
    own = [container["image"] for pod, container in overlay("prod/services").containers() if pod != "postgresql"]
    assert own
    assert all("@sha256:" in image for image in own)
