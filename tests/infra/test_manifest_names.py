"""Ports, paths, variables, options, metrics in the manifests are those that the code has."""

import json
import re
from urllib.parse import urlsplit

import mlflow.environment_variables
import pytest
from mlflow.cli import cli as mlflow_cli
from prometheus_client import Counter, Gauge, Histogram

from mmkgc.components.runtime import pod_settings
from mmkgc.pipeline.cli.serve import serve
from mmkgc.serving.api.gateway.app import create_app
from mmkgc.serving.api.gateway.observe import Metrics
from mmkgc.serving.api.gateway.settings import PREFIX, Limits

pytestmark = pytest.mark.service("kubectl")
SERVICES = pytest.mark.parametrize("name", ["dev/services", "prod/services"])
OPTIONS = {
    "mmkgc-serve": {option for each in serve.params for option in each.opts},
    "mlflow": {
        option for each in mlflow_cli.commands["server"].params for option in (*each.opts, *each.secondary_opts)
    },
}
STORE = {"AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
FOREIGN = STORE | {"OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "PGPASSWORD"}
OURS = {"MMKGC_STORAGE", "MMKGC_S3_PATH_STYLE", "MMKGC_API_KEYS_FILE"}
POSTGRESQL = {"POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD", "PGDATA"}


class Nobody:
    """No model: only the routes are asked for."""

    async def ask(self, body):
        raise NotImplementedError

    async def close(self):
        pass


@pytest.fixture(scope="module")
def routes():
    return {getattr(route, "path", None) for route in create_app(Nobody(), ["k" * 16]).routes}


@pytest.fixture(scope="module")
def serving(overlay):
    """The serving container of the dev overlay."""
    return overlay("dev/services").pods()["mmkgc-serve"]["spec"]["containers"][0]


def variables(manifests, container):
    """Names of a container's environment variables."""
    sources = manifests.of("ConfigMap")
    for source in container.get("envFrom", []):
        yield from sources[source["configMapRef"]["name"]]["data"] if "configMapRef" in source else ()
    yield from (variable["name"] for variable in container.get("env", []))


@pytest.mark.parametrize("name", ["dev/steps", "prod/steps"])
def test_every_variable_of_the_steps_has_a_source(overlay, name):
    data = overlay(name).of("ConfigMap")[pod_settings.CONFIG]["data"]
    assert set(pod_settings.CONFIG_KEYS) <= set(data) <= {*pod_settings.CONFIG_KEYS, *pod_settings.OPTIONAL_CONFIG_KEYS}
    assert set(overlay(name).of("Secret", "ExternalSecret")) == set(pod_settings.OPTIONAL_SECRETS)
    for secret, each in overlay("dev/steps").of("Secret").items():
        assert set(each["stringData"]) <= set(pod_settings.OPTIONAL_SECRETS[secret])


def test_the_accounts_rights_name_what_is_there(overlay):
    manifests = overlay("dev/steps")
    accounts = manifests.of("ServiceAccount")
    for binding in manifests.of("RoleBinding").values():
        assert {subject["name"] for subject in binding["subjects"]} <= set(accounts)
        assert binding["roleRef"]["name"] in manifests.of("Role") or binding["roleRef"]["name"] == "kubeflow-edit"
    (rule,) = manifests.of("Role")["mmkgc-doctor"]["rules"]
    assert rule["resourceNames"] == [pod_settings.CONFIG]


@SERVICES
def test_every_option_of_a_command_exists(overlay, name):
    manifests = overlay(name)
    for pod, options in OPTIONS.items():
        args = manifests.pods()[pod]["spec"]["containers"][0]["args"]
        given = {arg for arg in args if arg.startswith("-")}
        assert given
        assert given <= options
        data = set(variables(manifests, manifests.pods()[pod]["spec"]["containers"][0]))
        assert set(re.findall(r"\$\((\w+)\)", " ".join(args))) <= data


@SERVICES
def test_every_variable_is_one_that_the_program_reads(overlay, name):
    manifests = overlay(name)
    limits = {PREFIX + limit.upper() for limit in Limits.model_fields}
    of_mlflow = {each for each in dir(mlflow.environment_variables) if each.startswith("MLFLOW_")}
    of_mlflow |= {option.envvar for option in mlflow_cli.commands["server"].params if option.envvar}
    arguments = {"MODEL", "ALIAS", "WORKERS"}  # used by ``args``
    known = {"mmkgc-serve": OURS | limits | arguments | of_mlflow, "mlflow": of_mlflow, "postgresql": POSTGRESQL}
    for pod, container in manifests.containers():
        assert set(variables(manifests, container)) <= known[pod] | FOREIGN
    given = {key: value for key, value in manifests.of("ConfigMap")["mmkgc-serve"]["data"].items() if key in limits}
    defaults = Limits()
    for key, value in given.items():
        assert float(value) == getattr(defaults, key.removeprefix(PREFIX).lower()), "the comment calls them defaults"
    secrets = overlay("dev/services").of("Secret")
    assert set(secrets["mmkgc-s3"]["stringData"]) <= STORE
    assert set(secrets["mmkgc-mlflow"]["stringData"]) <= set(pod_settings.OPTIONAL_SECRETS["mmkgc-mlflow"])
    assert set(secrets["mlflow-server"]["stringData"]) <= of_mlflow | FOREIGN


def test_example_keys_can_be_keys(overlay):
    keys = overlay("dev/services").of("Secret")["mmkgc-api-keys"]["stringData"]
    lines = keys["keys"].split()
    assert keys["metrics"] in lines
    create_app(Nobody(), lines)


@SERVICES
def test_probes_ask_at_routes_that_need_no_key(overlay, routes, name):
    from mlflow.server import app

    found = {"mmkgc-serve": routes, "mlflow": {rule.rule for rule in app.url_map.iter_rules()}}
    for pod, paths in found.items():
        container = overlay(name).pods()[pod]["spec"]["containers"][0]
        probes = [container[probe]["httpGet"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")]
        assert {probe["path"] for probe in probes} <= paths & {"/healthz", "/readyz", "/health"}
        assert {probe["port"] for probe in probes} == {container["ports"][0]["name"]}


@SERVICES
def test_programs_listen_where_their_ports_are(overlay, name):
    for pod in OPTIONS:
        container = overlay(name).pods()[pod]["spec"]["containers"][0]
        args = container["args"]
        assert int(args[args.index("--port") + 1]) == container["ports"][0]["containerPort"]
        assert args[args.index("--host") + 1] == "0.0.0.0"


@SERVICES
def test_addresses_lead_to_services_under_names_that_mlflow_answers_to(overlay, name):
    manifests = overlay(name)
    services = manifests.of("Service")
    data = {config: each["data"] for config, each in manifests.of("ConfigMap").items()}
    steps = overlay(name.replace("services", "steps")).of("ConfigMap")["mmkgc"]["data"]
    assert steps == data["mmkgc"], "steps and serving share the store and MLflow"
    address = urlsplit(data["mmkgc"]["MLFLOW_TRACKING_URI"])
    service = services[address.hostname.split(".")[0]]
    assert address.hostname.split(".")[1] == service["metadata"]["namespace"]
    assert address.port == service["spec"]["ports"][0]["port"]
    assert address.netloc in data["mlflow"]["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    database = urlsplit(data["mlflow"]["MLFLOW_BACKEND_STORE_URI"])
    assert services[database.hostname]["spec"]["ports"][0]["port"] == database.port
    assert database.geturl() in data["mlflow-auth"]["auth.ini"]
    ingresses = {each["spec"]["rules"][0]["host"] for each in manifests.of("Ingress").values()}
    for host in ingresses & {"mlflow.example.org"}:
        assert host in data["mlflow"]["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
        assert data["mlflow"]["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] == f"https://{host}"


@SERVICES
def test_the_network_lets_pass_what_is_needed_and_nothing_else(overlay, name):
    manifests = overlay(name)
    pipeline, ingress, anyone = {"mmkgc/pipeline": "true"}, {"mmkgc/ingress": "true"}, {}
    assert passes(manifests, "mmkgc-serve", "mlflow", 5000)
    assert passes(manifests, "mlflow", "postgresql", 5432)
    assert passes(manifests, pipeline, "mlflow", 5000)
    assert passes(manifests, pipeline, "postgresql", 5432)
    assert passes(manifests, ingress, "mlflow", 5000)
    assert passes(manifests, ingress, "mmkgc-serve", 8080)
    assert not passes(manifests, "mmkgc-serve", "postgresql", 5432)
    assert not passes(manifests, "postgresql", "mlflow", 5000)
    assert not passes(manifests, anyone, "mmkgc-serve", 8080)
    assert not passes(manifests, ingress, "postgresql", 5432)
    monitoring = {"kubernetes.io/metadata.name": "monitoring"}
    assert passes(manifests, monitoring, "mmkgc-serve", 8080) == bool(manifests.of("ServiceMonitor"))
    endpoint = manifests.of("ConfigMap")["mmkgc"]["data"].get("AWS_ENDPOINT_URL", "https://amazonaws.com:443")
    store = urlsplit(endpoint).port
    assert {pod for pod in manifests.pods() if leaves(manifests, pod, store)} == {"mlflow", "mmkgc-serve"}


def passes(manifests, source, target, port):
    """Whether the policies allow a connection to a pod, from another or from a namespace with these labels."""
    ports = manifests.pods()[target]["spec"]["containers"][0]["ports"]
    name = next(each["name"] for each in ports if each["containerPort"] == port)

    def selected(peer):
        if isinstance(source, dict):
            return "namespaceSelector" in peer and peer["namespaceSelector"]["matchLabels"].items() <= source.items()
        return "podSelector" in peer and selects(peer["podSelector"], source)

    comes = any(
        any(map(selected, rule["from"])) and name in [each["port"] for each in rule["ports"]]
        for policy in manifests.of("NetworkPolicy").values()
        if selects(policy["spec"]["podSelector"], target)
        for rule in policy["spec"].get("ingress", [])
    )
    return comes and (isinstance(source, dict) or leaves(manifests, source, name, target))


def leaves(manifests, source, port, target=None):
    """Whether a pod may open connections to this port of ``target``, or of anything."""
    assert "default-deny" in manifests.of("NetworkPolicy")
    return any(
        ("to" not in rule or any(target and selects(peer.get("podSelector"), target) for peer in rule["to"]))
        and port in [each["port"] for each in rule["ports"]]
        for policy in manifests.of("NetworkPolicy").values()
        if selects(policy["spec"]["podSelector"], source)
        for rule in policy["spec"].get("egress", [])
    )


def selects(selector, pod):
    """Whether a selector matches the pod of this name."""
    if selector is None:
        return False
    wanted = [selector["matchLabels"]["app.kubernetes.io/name"]] if "matchLabels" in selector else None
    for expression in selector.get("matchExpressions", []):
        wanted = expression["values"]
    return wanted is None or pod in wanted


def test_prometheus_asks_where_the_gateway_answers_with_a_key_that_is_there(overlay, routes):
    manifests = overlay("prod/services")
    monitor = manifests.of("ServiceMonitor")["mmkgc-serve"]["spec"]
    (endpoint,) = monitor["endpoints"]
    assert endpoint["path"] in routes
    (service,) = [
        each
        for each in manifests.of("Service").values()
        if each["metadata"]["labels"] == monitor["selector"]["matchLabels"]
    ]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    credentials = endpoint["authorization"]["credentials"]
    assert credentials["key"] in overlay("dev/services").of("Secret")[credentials["name"]]["stringData"]


def test_the_dashboard_asks_for_metrics_and_labels_that_the_gateway_exports(overlay):
    dashboard = json.loads(overlay("prod/services").of("ConfigMap")["mmkgc-dashboard"]["data"]["mmkgc.json"])
    suffixes = {Counter: ["_total"], Gauge: [""], Histogram: ["_bucket", "_sum", "_count"]}
    exported = {}
    for metric in vars(Metrics()).values():
        for suffix in suffixes.get(type(metric), []):
            exported[metric._name + suffix] = {*metric._labelnames, "pod", "le"}
    shown = set()
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            metrics = re.findall(r"mmkgc_\w+", target["expr"])
            assert set(metrics) <= set(exported)
            grouped = {
                label.strip() for group in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in group.split(",")
            }
            grouped |= set(re.findall(r"[{,](\w+)=", target["expr"]))
            assert grouped <= exported[metrics[0]], target["expr"]
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= grouped
            shown |= {re.sub("_(total|bucket|sum|count)$", "", metric) for metric in metrics}
    families = {re.sub("_(total|bucket|sum|count)$", "", metric) for metric in exported}
    assert shown == families, "every metric is on the dashboard"


def test_the_dashboard_names_a_route_that_is_there(overlay, routes):
    dashboard = overlay("prod/services").of("ConfigMap")["mmkgc-dashboard"]["data"]["mmkgc.json"]
    named = set(re.findall(r'route=\\"([^"\\]+)', dashboard))
    assert named
    assert named <= routes
