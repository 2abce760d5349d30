"""Kubernetes' API with Kubeflow Trainer in it, by kmock, on a port of its own; a script plays the controller."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import kmock

from mmkgc.components.train.trainjob import CONTAINER, POD, RUNTIME

NAMESPACE = "team"
JOBS = kmock.resource("trainer.kubeflow.org", "v1alpha1", "trainjobs")
RUNTIMES = kmock.resource("trainer.kubeflow.org", "v1alpha1", "clustertrainingruntimes")
PODS = kmock.resource("", "v1", "pods")
_container = {"name": CONTAINER, "image": "torch"}
RUNTIME_CR: dict[str, Any] = {
    "apiVersion": "trainer.kubeflow.org/v1alpha1",
    "kind": "ClusterTrainingRuntime",
    "metadata": {"name": RUNTIME, "labels": {"trainer.kubeflow.org/framework": "torch"}},
    "spec": {
        "mlPolicy": {"numNodes": 1, "torch": {}},
        "template": {
            "spec": {
                "replicatedJobs": [
                    {
                        "name": POD,
                        "template": {
                            "metadata": {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}},
                            "spec": {"template": {"spec": {"containers": [_container]}}},
                        },
                    }
                ]
            }
        },
    },
}


class TrainerApi:
    """A server with the runtime; ``states`` are those of a job in their order: a phase of its pods, or its end.

    Each state stays for two questions, since the SDK asks again before it reads the output. ``at`` holds what happens
    when a state is reached, ``refusals`` the errors with which the next requests of a kind are answered, ``outputs``
    what the next readers of the first pod's output get; the last one stays.
    """

    def __init__(self, states: Sequence[str]) -> None:
        self.states = [state for state in states for _ in range(2)]
        self.at: dict[str, Callable[[], Any]] = {}
        self.refusals: dict[str, list[Exception]] = {"create": [], "get": [], "log": [], "delete": []}
        self.outputs = [b""]
        self.url = ""
        self.kmock = kmock.KubernetesEmulator()
        self.kmock.objects[RUNTIMES, None, RUNTIME] = RUNTIME_CR
        self.kmock.resources[PODS] = {}
        self.kmock["post", JOBS] << self._admit
        self.kmock[kmock.action.FETCH, JOBS] << self._play
        self.kmock[kmock.action.DELETE, JOBS] << self._delete
        self.kmock["get", PODS, kmock.subresource("log")] << self._log

    def jobs(self) -> list[dict[str, Any]]:
        """The jobs that are there."""
        return [obj.raw for (kind, _, _), obj in self.kmock.objects.items() if kind == JOBS and not obj.deleted]

    def _refuse(self, kind: str) -> None:
        if self.refusals[kind]:
            raise self.refusals[kind].pop(0)

    def _admit(self, request: kmock.Request) -> dict[str, Any]:
        """What Kubernetes adds to an object that it admits."""
        job = self.kmock.objects[JOBS, NAMESPACE, request.data["metadata"]["name"]]
        if self.refusals["create"]:
            job.delete()  # kmock has kept it already
            raise self.refusals["create"].pop(0)
        job.patch({"metadata": {"namespace": NAMESPACE, "creationTimestamp": "2026-01-01T00:00:00Z"}})
        return job.raw

    def _play(self, request: kmock.Request) -> dict[str, Any]:
        """The job's next state."""
        self._refuse("get")
        job = self.kmock.objects[JOBS, NAMESPACE, request.name]
        if job.deleted:
            raise refusal(404, f'trainjobs.trainer.kubeflow.org "{request.name}" not found')
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        self.at.pop(state, lambda: None)()
        if state in ("Complete", "Failed"):
            why = {"reason": state, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
            job.patch({"status": {"conditions": [{"type": state, "status": "True", **why}]}})
        elif state != "Created":
            for node in range(job["spec"]["trainer"]["numNodes"]):
                self._pod(request.name, node, state)
        return job.raw

    def _delete(self, _: kmock.Request) -> dict[str, Any]:
        self._refuse("delete")
        return {}

    def _log(self, _: kmock.Request) -> bytes:
        self._refuse("log")
        return self.outputs.pop(0) if len(self.outputs) > 1 else self.outputs[0]

    def _pod(self, job: str, node: int, phase: str) -> None:
        labels = {
            "jobset.sigs.k8s.io/jobset-name": job,
            "jobset.sigs.k8s.io/replicatedjob-name": POD,
            "batch.kubernetes.io/job-completion-index": str(node),
        }
        metadata = {"name": f"{job}-{node}", "namespace": NAMESPACE, "labels": labels}
        spec = {"containers": [_container]}
        self.kmock.objects[PODS, NAMESPACE, f"{job}-{node}"] = {
            "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": phase}
        }  # fmt: skip


def refusal(status: int, message: str) -> Exception:
    """An error as Kubernetes sends it."""
    return kmock.KubernetesError(status=status, reason="Refused", message=message)


@contextmanager
def trainer_api(*states: str) -> Iterator[TrainerApi]:
    """A running server; the SDK's client blocks, so the server has a thread."""
    api, loop = TrainerApi(states), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def within(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(10)

    server = kmock.Server(api.kmock)
    within(api.kmock.__aenter__())
    within(server.__aenter__())
    api.url = str(server.url).rstrip("/")
    try:
        yield api
    finally:
        within(server.__aexit__(None, None, None))
        within(api.kmock.__aexit__(None, None, None))
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
