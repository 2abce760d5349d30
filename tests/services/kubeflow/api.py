"""A stand-in for Kubeflow Pipelines: its REST API v2beta1 as far as ``kfp.Client`` and ``mmkgc`` use it.

It executes the compiled IR by the driver's and launcher's rules (``workflow.py``, ``pod.py``), with processes for pods.
It is no Kubeflow: there is no Argo, no RBAC but a list of namespaces, no scheduling and no limits.
"""

import json
import re
import threading
import time
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from tests.services.kubeflow.mlflow_plugin import MLflowPlugin
from tests.services.kubeflow.pod import Cluster
from tests.services.kubeflow.workflow import Node, Workflow, now

CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 500: 13}
ENDED = ("SUCCEEDED", "FAILED", "CANCELED")


class Refused(Exception):
    """An error that the API answers."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Request(NamedTuple):
    """A call: the ids in its path, its query, its JSON body."""

    ids: tuple[str, ...]
    query: dict[str, str]
    body: dict[str, Any]


class KubeflowPipelines:
    """The server, for a ``with`` block. ``token``: asked of every call; ``namespaces``: those that the user may use."""

    def __init__(
        self, cluster: Cluster, *, root: str = "s3://mlpipeline/v2/artifacts", token: str | None = None,
        namespaces: tuple[str, ...] = (), backoff: float = 0.1, mlflow: str | None = None,
    ) -> None:  # fmt: skip
        self.cluster, self.root, self.token, self.namespaces, self.backoff = cluster, root, token, namespaces, backoff
        self.plugin = MLflowPlugin(mlflow, cluster.folder / "mlartifacts") if mlflow else None
        self.experiments: dict[str, dict] = {}
        self.runs: dict[str, dict] = {}
        self.workflows: dict[str, Workflow] = {}
        self.recurring: dict[str, dict] = {}
        self.caches: dict[str, dict] = {}
        self.faults: list[int] = []  # statuses of the next answers; 0 ends the connection without one
        self.lock = threading.RLock()

    def __enter__(self) -> "KubeflowPipelines":
        standing = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None: ...

            def do_GET(self) -> None:
                standing.answer(self)

            do_POST = do_DELETE = do_GET

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for workflow in list(self.workflows.values()):
            workflow.cancel()
        self.server.shutdown()
        self.server.server_close()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one call."""
        parts = urlsplit(handler.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        body = json.loads(handler.rfile.read(int(handler.headers.get("Content-Length") or 0)) or b"{}")
        try:
            self._let_in(handler)
            status, answer = 200, self._call(handler.command, parts.path, query, body)
        except ConnectionAbortedError:
            handler.close_connection = True
            return
        except Refused as refusal:
            status = refusal.status
            answer = {"error": str(refusal), "code": CODES[status], "message": str(refusal), "details": []}
        text = answer if isinstance(answer, str) else json.dumps(answer)
        handler.send_response(status)
        handler.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
        handler.send_header("Content-Length", str(len(text.encode())))
        handler.end_headers()
        handler.wfile.write(text.encode())

    def _let_in(self, handler: BaseHTTPRequestHandler) -> None:
        if self.faults:
            status = self.faults.pop(0)
            if not status:
                raise ConnectionAbortedError
            raise Refused(status, "Internal error: asked for by the test")
        cookie = handler.headers.get("Cookie", "")
        if self.token and handler.headers.get("Authorization") != f"Bearer {self.token}" and self.token not in cookie:
            raise Refused(401, "Request header error: there is no user identity header.")

    def _call(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> Any:
        routes: list[tuple[str, str, Callable[[Request], Any]]] = [
            ("GET", "/apis/v2beta1/healthz", lambda _: {"multi_user": bool(self.namespaces)}),
            ("POST", "/apis/v2beta1/experiments", self._create_experiment),
            ("GET", "/apis/v2beta1/experiments", self._list_experiments),
            ("GET", "/apis/v2beta1/experiments/([^/:]+)", lambda ask: self._found(self.experiments, ask.ids[0])),
            ("POST", "/apis/v2beta1/runs", lambda ask: self._create_run(ask.body)),
            ("GET", "/apis/v2beta1/runs", self._list_runs),
            ("GET", "/apis/v2beta1/runs/([^/:]+)", lambda ask: self._run(ask.ids[0])),
            ("POST", "/apis/v2beta1/runs/([^/:]+):terminate", self._terminate),
            ("POST", "/apis/v2beta1/runs/([^/:]+):retry", self._retry),
            ("GET", "/apis/v1alpha1/runs/([^/:]+)/nodes/([^/:]+)/log", self._log),
            ("POST", "/apis/v2beta1/recurringruns", self._create_recurring),
            ("GET", "/apis/v2beta1/recurringruns", self._list_recurring),
            ("GET", "/apis/v2beta1/recurringruns/([^/:]+)", lambda ask: self._found(self.recurring, ask.ids[0])),
            ("DELETE", "/apis/v2beta1/recurringruns/([^/:]+)", self._delete_recurring),
            ("POST", "/apis/v2beta1/recurringruns/([^/:]+):(enable|disable)", self._switch_recurring),
        ]
        for verb, pattern, work in routes:
            if verb == method and (found := re.fullmatch(pattern, path)):
                with self.lock:
                    return work(Request(found.groups(), query, body))
        raise Refused(404, "Not Found")

    @staticmethod
    def _found(among: dict[str, dict], number: str) -> dict:
        if number not in among:
            raise Refused(404, f"ResourceNotFoundError: {number} not found")
        return among[number]

    def _allowed(self, namespace: str | None) -> str:
        if self.namespaces and not namespace:
            raise Refused(400, "Invalid input error: In multi-user mode, a namespace is required")
        if self.namespaces and namespace not in self.namespaces:
            raise Refused(403, f"User is not authorized in namespace {namespace}: PermissionDenied")
        return namespace or ""

    def _create_experiment(self, ask: Request) -> dict:
        namespace, name = self._allowed(ask.body.get("namespace")), ask.body["display_name"]
        if any((each["display_name"], each["namespace"]) == (name, namespace) for each in self.experiments.values()):
            raise Refused(409, f"Already exist error: experiment {name} already exists")
        made = {"experiment_id": str(uuid.uuid4()), "display_name": name, "namespace": namespace, "created_at": now()}
        return self.experiments.setdefault(made["experiment_id"], made)

    def _list_experiments(self, ask: Request) -> dict:
        namespace = self._allowed(ask.query.get("namespace"))
        found = [each for each in self.experiments.values() if each["namespace"] == namespace]
        return {"experiments": _filtered(found, ask.query), "total_size": len(found)}

    def _create_run(self, body: dict[str, Any], recurring: str | None = None) -> dict:
        experiment = self._found(self.experiments, body.get("experiment_id", ""))
        self._allowed(experiment["namespace"])
        document, config = body.get("pipeline_spec"), body.get("runtime_config", {})
        if not document:
            raise Refused(400, "Invalid input error: the run has no pipeline")
        number = str(uuid.uuid4())
        run = {"run_id": number, "created_at": now(), "state": "PENDING", "state_history": [], **body}
        run |= {"recurring_run_id": recurring} if recurring else {}
        self.runs[number] = run
        if self.plugin:
            self.plugin.begin_run(number, body["display_name"], body.get("plugins_input") or {})
        cache = self.caches.setdefault(experiment["namespace"], {})
        self.workflows[number] = Workflow(
            number, document, config.get("parameters") or {}, config.get("pipeline_root") or self.root,
            self.cluster, cache, self.backoff, self.plugin,
        )  # fmt: skip
        self._start(run)
        return run

    def _start(self, run: dict) -> None:
        workflow = self.workflows[run["run_id"]]

        def work() -> None:
            state = workflow.execute()
            if self.plugin:
                self.plugin.end_run(run["run_id"], state)
            run["finished_at"] = now()
            self._state(run, state)

        run.pop("finished_at", None)
        self._state(run, "RUNNING")
        threading.Thread(target=work, daemon=True).start()

    @staticmethod
    def _state(run: dict, state: str) -> None:
        run["state"] = state
        run["state_history"].append({"update_time": now(), "state": state})

    def _run(self, number: str) -> dict:
        run = self._found(self.runs, number)
        nodes = list(self.workflows[number].nodes)
        return run | {"run_details": {"task_details": [_detail(node, nodes, number) for node in nodes]}}

    def _list_runs(self, ask: Request) -> dict:
        namespace = self._allowed(ask.query.get("namespace"))
        found = [run for run in self.runs.values()
                 if self.experiments[run["experiment_id"]]["namespace"] == namespace]  # fmt: skip
        if experiment := ask.query.get("experiment_id"):
            found = [run for run in found if run["experiment_id"] == experiment]
        found = sorted(_filtered(found, ask.query), key=lambda run: run["created_at"], reverse=True)
        return {"runs": found[: int(ask.query.get("page_size") or 20)], "total_size": len(found)}

    def _terminate(self, ask: Request) -> dict:
        run = self._found(self.runs, ask.ids[0])
        if run["state"] in ENDED:
            raise Refused(400, "Failed to terminate the run: it has ended")
        self._state(run, "CANCELING")
        threading.Thread(target=self.workflows[run["run_id"]].cancel, daemon=True).start()
        return {}

    def _retry(self, ask: Request) -> dict:
        run = self._found(self.runs, ask.ids[0])
        if run["state"] not in ("FAILED", "CANCELED"):
            raise Refused(400, "Workflow must be Failed/Error to retry")
        self._start(run)
        return {}

    def _log(self, ask: Request) -> str:
        self._found(self.runs, ask.ids[0])
        for pod in self.workflows[ask.ids[0]].pods:
            if pod.name == ask.ids[1]:
                return pod.log.read_text()
        raise Refused(404, f"pod {ask.ids[1]} not found")

    def _create_recurring(self, ask: Request) -> dict:
        self._allowed(self._found(self.experiments, ask.body.get("experiment_id", ""))["namespace"])
        number, status = str(uuid.uuid4()), "ENABLED" if ask.body.get("mode") == "ENABLE" else "DISABLED"
        self.recurring[number] = ask.body | {"recurring_run_id": number, "status": status, "created_at": now()}
        return self.recurring[number]

    def _list_recurring(self, ask: Request) -> dict:
        self._allowed(ask.query.get("namespace"))
        return {"recurringRuns": list(self.recurring.values()), "total_size": len(self.recurring)}

    def _delete_recurring(self, ask: Request) -> dict:
        self._found(self.recurring, ask.ids[0])
        del self.recurring[ask.ids[0]]
        return {}

    def _switch_recurring(self, ask: Request) -> dict:
        self._found(self.recurring, ask.ids[0])["status"] = f"{ask.ids[1].upper()}D"
        return {}

    def fire(self, number: str) -> dict | None:
        """What the controller does when a schedule is due; None where it is disabled."""
        schedule = self.recurring[number]
        if schedule["status"] != "ENABLED":
            return None
        keys = ("experiment_id", "display_name", "pipeline_spec", "runtime_config", "plugins_input")
        return self._create_run({key: schedule[key] for key in keys if key in schedule}, recurring=number)

    def wait(self, number: str, seconds: float = 120) -> str:
        """State in which a run ends."""
        deadline = time.monotonic() + seconds
        while self.runs[number]["state"] not in ENDED:
            assert time.monotonic() < deadline, "the run does not end"
            time.sleep(0.05)
        return self.runs[number]["state"]


def _filtered(found: list[dict], query: dict[str, str]) -> list[dict]:
    """What a filter of ``EQUALS`` predicates leaves."""
    predicates = json.loads(query.get("filter") or "{}").get("predicates", [])
    wanted = {each["key"].replace("name", "display_name") if each["key"] == "name" else each["key"]:
              each.get("string_value", each.get("stringValue")) for each in predicates}  # fmt: skip
    return [each for each in found if all(each.get(key) == value for key, value in wanted.items())]


def _detail(node: Node, nodes: list[Node], run_id: str) -> dict:
    children = [other for other in nodes if other.parent is node]
    return {
        "run_id": run_id, "task_id": node.id, "display_name": node.display_name, "state": node.state,
        "parent_task_id": node.parent.id if node.parent else "",
        "child_tasks": [{"task_id": child.id, "pod_name": child.pod.name if child.pod else ""} for child in children],
        **({"pod_name": node.pod.name} if node.pod else {}),
        **({"start_time": node.start} if node.start else {}),
        **({"end_time": node.end} if node.end else {}),
        **({"error": {"code": 2, "message": node.error}} if node.error else {}),
    }  # fmt: skip
