"""A run of the stand-in: the compiled IR, executed task by task as KFP's driver and Argo do."""

import hashlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

from tests.services.kubeflow.pod import Cluster, Pod, PodFailed

GRACE_SECONDS = 3
ARTIFACT_IDS = count(1)


def now() -> str:
    """The present time as the API writes it."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


class Stopped(Exception):
    """A task failed, was cancelled, or was left out because of one that did."""


@dataclass
class Node:
    """A line of ``run_details.task_details``: Argo has one for the DAG, each task, its driver, and its attempts."""

    display_name: str
    parent: "Node | None" = None
    state: str = "PENDING"
    pod: Pod | None = None
    start: str = ""
    end: str = ""
    error: str = ""
    id: str = field(default_factory=lambda: f"node-{uuid.uuid4().hex[:10]}")

    def begin(self) -> "Node":
        self.state, self.start = "RUNNING", now()
        return self

    def finish(self, state: str, error: str = "") -> None:
        self.state, self.error, self.end = state, error, now()


@dataclass
class Values:
    """Parameters and artifacts of a task: its inputs, or its outputs."""

    parameters: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, dict] = field(default_factory=dict)


class Workflow:
    """Executes a pipeline's IR. ``execute`` may be called again after a failure: what succeeded is kept."""

    def __init__(
        self,
        run_id: str,
        document: Mapping[str, Any],
        parameters: Mapping[str, Any],
        root: str,
        cluster: Cluster,
        cache: dict[str, Values],
        backoff: float,
        plugin: Any = None,
    ) -> None:
        self.run_id, self.cluster, self.cache, self.backoff, self.plugin = run_id, cluster, cache, backoff, plugin
        self.spec = document.get("pipeline_spec", document)
        platform = document.get("platform_spec", {}).get("platforms", {}).get("kubernetes", {})
        self.kubernetes = platform.get("deploymentSpec", {}).get("executors", {})
        self.executors = self.spec["deploymentSpec"]["executors"]
        self.name = self.spec["pipelineInfo"]["name"]
        self.root = f"{root.rstrip('/')}/{self.name}/{run_id}"
        self.parameters = dict(parameters)
        self.nodes: list[Node] = []
        self.pods: list[Pod] = []
        self.done: dict[str, Values] = {}
        self.cancelled = threading.Event()

    def execute(self) -> str:
        """Run everything that has not succeeded yet; returns the state of the run."""
        self.cancelled.clear()
        self.nodes = [node for node in self.nodes if node.state in ("SUCCEEDED", "SKIPPED")]
        root = self._node("root", None).begin()
        try:
            self._dag("", self.spec["root"], self._with_defaults(self.spec["root"], Values(self.parameters)), root)
            root.finish("SUCCEEDED")
        except Stopped as stop:
            root.finish("CANCELED" if self.cancelled.is_set() else "FAILED", str(stop))
        return root.state

    def cancel(self) -> None:
        """End every pod, as Kubernetes does: SIGTERM, and SIGKILL after a grace period."""
        self.cancelled.set()
        for pod in self.pods:
            pod.kill()
        deadline = time.monotonic() + GRACE_SECONDS
        while any(pod.process and pod.process.poll() is None for pod in self.pods):
            if time.monotonic() > deadline:
                for pod in self.pods:
                    pod.kill(9)
            time.sleep(0.05)

    def _node(self, name: str, parent: Node | None, pod: Pod | None = None) -> Node:
        node = Node(name, parent, pod=pod)
        self.nodes.append(node)
        return node

    def _dag(self, path: str, component: dict, given: Values, node: Node) -> Values:
        """Run the tasks of a DAG, each as soon as those that it depends on are through."""
        tasks = component["dag"]["tasks"]
        through = {name: threading.Event() for name in tasks}
        outputs: dict[str, Values] = {}
        failures: dict[str, str] = {}

        def work(name: str, task: dict) -> None:
            try:
                for other in task.get("dependentTasks", []):
                    through[other].wait()
                lost = [other for other in task.get("dependentTasks", []) if other not in outputs]
                always = task.get("triggerPolicy", {}).get("strategy") == "ALL_UPSTREAM_TASKS_COMPLETED"
                if (lost and not always) or self.cancelled.is_set():
                    raise Stopped(f"{name}: omitted")
                outputs[name] = self._task(f"{path}/{name}", task, given, outputs, node)
            except Stopped as stop:
                failures[name] = str(stop)
            except Exception as error:  # a fault of the stand-in: the run must not hang on it
                failures[name] = f"{name}: {error!r}"
                raise
            finally:
                through[name].set()

        threads = [threading.Thread(target=work, args=item, daemon=True) for item in tasks.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise Stopped("; ".join(text for text in failures.values() if not text.endswith("omitted")))
        return self._outputs(component, outputs)

    def _task(self, path: str, task: dict, scope: Values, outputs: dict[str, Values], parent: Node) -> Values:
        if path in self.done:
            return self.done[path]
        component = self.spec["components"][task["componentRef"]["name"]]
        given = self._inputs(task, scope, outputs)
        condition = task.get("triggerPolicy", {}).get("condition")
        name = path.rpartition("/")[2]
        self._node(f"{name}-driver", parent).begin().finish("SUCCEEDED")
        node = self._node(name, parent).begin()
        if condition and not _holds(condition, given.parameters):
            node.finish("SKIPPED")
            return Values()
        try:
            if "parameterIterator" in task:
                found = self._iterate(path, task, component, given, node)
            elif "dag" in component:
                found = self._dag(path, component, self._with_defaults(component, given), node)
            else:
                found = self._container(path, task, component, self._with_defaults(component, given), node)
        except Stopped as stop:
            node.finish("CANCELED" if self.cancelled.is_set() else "FAILED", str(stop))
            raise
        node.finish("SUCCEEDED")
        self.done[path] = found
        return found

    def _iterate(self, path: str, task: dict, component: dict, given: Values, node: Node) -> Values:
        """ParallelFor: one sub-DAG an item, so many at once as the policy allows. Nothing is collected."""
        iterator = task["parameterIterator"]
        items = iterator["items"]
        values = json.loads(items["raw"]) if "raw" in items else given.parameters[items["inputParameter"]]
        limit = threading.Semaphore(task.get("iteratorPolicy", {}).get("parallelismLimit") or len(values) or 1)
        failures: list[str] = []

        def one(index: int, value: Any) -> None:
            inputs = Values(given.parameters | {iterator["itemInput"]: value}, given.artifacts)
            with limit:
                try:
                    self._dag(f"{path}/{index}", component, inputs, node)
                except Stopped as stop:
                    failures.append(str(stop))

        threads = [threading.Thread(target=one, args=pair, daemon=True) for pair in enumerate(values)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise Stopped("; ".join(failures))
        return Values()

    def _container(self, path: str, task: dict, component: dict, given: Values, node: Node) -> Values:
        label, name = component["executorLabel"], path.strip("/").replace("/", "-")
        container, kubernetes = self.executors[label]["container"], self.kubernetes.get(label, {})
        prefix = f"{self.root}/{name}/"
        key = self._fingerprint(component, container, given)
        cached = task.get("cachingOptions", {}).get("enableCache", False)
        executor = self._node("executor", node)
        if cached and key in self.cache:
            executor.finish("SKIPPED")
            return self.cache[key]
        retry = task.get("retryPolicy", {})
        executor.begin()
        for attempt in range(int(retry.get("maxRetryCount", 0)) + 1):
            if attempt and self.cancelled.wait(self.backoff):
                break
            make = self.cluster.make_pod or Pod
            pod = make(f"{self.name}-{name}-{uuid.uuid4().hex[:8]}", self.cluster, self._labels(), prefix)
            try:
                found = self._attempt(pod, attempt, container, kubernetes, given, component, node, executor)
            except PodFailed as failure:
                if self.cancelled.is_set():
                    break
                error = f"{name}: {failure}"
            else:
                executor.finish("SUCCEEDED")
                if cached:
                    self.cache[key] = found
                return found
        executor.finish("CANCELED" if self.cancelled.is_set() else "FAILED")
        raise Stopped(f"{name}: cancelled" if self.cancelled.is_set() else error)

    def _attempt(
        self, pod: Pod, attempt: int, container: dict, kubernetes: dict, given: Values, component: dict,
        node: Node, executor: Node,
    ) -> Values:  # fmt: skip
        line = self._node(f"executor({attempt})", executor, pod).begin()
        self.pods.append(pod)
        place = f"{pod.output_prefix}{uuid.uuid4()}"
        inputs = {
            "parameterValues": given.parameters,
            "artifacts": {name: {"artifacts": [artifact]} for name, artifact in given.artifacts.items()},
        }
        definitions = component.get("outputDefinitions", {}).get("artifacts", {})
        outputs = {
            name: {
                "artifacts": [{"name": name, "type": each["artifactType"], "uri": f"{place}/{name}", "metadata": {}}]
            }
            for name, each in definitions.items()
        }
        begun = self.plugin.begin_task(self.run_id, node.display_name) if self.plugin else {}
        try:
            written = pod.run(container, kubernetes, {"inputs": inputs, "outputs": {"artifacts": outputs}}, begun)
        except PodFailed as failure:
            line.finish("CANCELED" if self.cancelled.is_set() else "FAILED", str(failure))
            raise
        finally:
            if self.plugin:
                self.plugin.end_task(begun, "FINISHED" if line.state == "RUNNING" else "FAILED")
        line.finish("SUCCEEDED")
        artifacts = {
            name: listed["artifacts"][0] | {"type": definitions[name]["artifactType"], "name": str(next(ARTIFACT_IDS))}
            for name, listed in written.get("artifacts", {}).items()
        }
        return Values(written.get("parameterValues", {}), artifacts)

    def _labels(self) -> dict[str, str]:
        return {"pipeline/runid": self.run_id, "pipelines.kubeflow.org/v2_component": "true"}

    def _fingerprint(self, component: dict, container: dict, given: Values) -> str:
        """KFP's cache key: the name of an artifact is its number, so a step that ran anew makes later ones run."""
        names = {name: artifact["name"] for name, artifact in given.artifacts.items()}
        seen = [self.name, component.get("outputDefinitions"), container, given.parameters, names]
        return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()

    def _inputs(self, task: dict, scope: Values, outputs: dict[str, Values]) -> Values:
        """What a task is given; an output that a skipped task did not make is left out."""
        given = Values()
        for name, source in task.get("inputs", {}).get("parameters", {}).items():
            if "runtimeValue" in source:
                constant = source["runtimeValue"]["constant"]
                workspace = str(self.cluster.folder / "workspaces" / self.run_id)
                is_workspace = constant == "{{$.workspace_path}}"
                given.parameters[name] = workspace if is_workspace else constant
            elif "componentInputParameter" in source:
                if source["componentInputParameter"] in scope.parameters:
                    given.parameters[name] = scope.parameters[source["componentInputParameter"]]
            else:
                from_task = source["taskOutputParameter"]
                made = outputs.get(from_task["producerTask"], Values()).parameters
                if from_task["outputParameterKey"] in made:
                    given.parameters[name] = made[from_task["outputParameterKey"]]
        for name, source in task.get("inputs", {}).get("artifacts", {}).items():
            if "componentInputArtifact" in source:
                found = scope.artifacts.get(source["componentInputArtifact"])
            else:
                from_task = source["taskOutputArtifact"]
                found = outputs.get(from_task["producerTask"], Values()).artifacts.get(from_task["outputArtifactKey"])
            if found:
                given.artifacts[name] = found
        return given

    @staticmethod
    def _with_defaults(component: dict, given: Values) -> Values:
        definitions = component.get("inputDefinitions", {}).get("parameters", {})
        defaults = {name: each["defaultValue"] for name, each in definitions.items() if "defaultValue" in each}
        missing = [name for name, each in definitions.items()
                   if name not in defaults | given.parameters and not each.get("isOptional")]  # fmt: skip
        if missing:
            raise Stopped(f"parameter {missing[0]} has no value")
        return Values(defaults | given.parameters, given.artifacts)

    @staticmethod
    def _outputs(component: dict, outputs: dict[str, Values]) -> Values:
        found = Values()
        for name, each in component["dag"].get("outputs", {}).get("artifacts", {}).items():
            for selector in each["artifactSelectors"]:
                made = outputs.get(selector["producerSubtask"], Values()).artifacts
                if selector["outputArtifactKey"] in made:
                    found.artifacts[name] = made[selector["outputArtifactKey"]]
        return found


def _holds(condition: str, parameters: dict[str, Any]) -> bool:
    """Evaluate a condition of the IR (CEL), which kfp writes in a form that is Python but for its operators."""

    class Inputs:
        parameter_values = parameters

    names: dict[str, Callable | Any] = {"inputs": Inputs, "true": True, "false": False, "int": int, "double": float}
    text = condition.replace("&&", " and ").replace("||", " or ").replace("!(", "not (")
    return bool(eval(text, {"__builtins__": {}}, names))
