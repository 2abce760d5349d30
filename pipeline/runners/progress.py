"""Progress of a Kubeflow run: its steps in pipeline order, from the details in the API."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from graphlib import TopologicalSorter
from typing import Any, NamedTuple

WORKS = "executor"
"""Kubeflow's name of a task's pod; ``executor(1)`` is the second attempt."""
OUT_OF_MEMORY = re.compile(r"OOMKilled|exit code 137")
"""How Kubernetes and Argo report a pod that was killed, usually because it exceeded its memory limit."""


@dataclass(frozen=True)
class Step:
    """A task of the pipeline: its state, duration so far, and pods, one per attempt."""

    name: str
    state: str  # pending, running, succeeded, cached, skipped, failed, canceled
    seconds: float | None = None
    pods: tuple[str, ...] = ()
    error: str = ""


def steps(run: Mapping[str, Any]) -> list[Step]:
    """The steps of a run, which is the JSON of ``GET /runs/{id}``."""
    details = (run.get("run_details") or {}).get("task_details") or []
    by_name: dict[str | None, dict[str, Any]] = {}
    for detail in details:
        by_name.setdefault(detail.get("display_name"), detail)
    tree = _Tree(details)
    return [
        _step(task, by_name.get(task.name), by_name.get(f"{task.name}-driver"), tree) for task in _tasks(_spec(run))
    ]


class _Task(NamedTuple):
    """A task of the pipeline: its name, the one that is shown, and the memory limit of its pod if it has one."""

    name: str
    shown: str
    memory: str | None


def _spec(run: Mapping[str, Any]) -> Mapping[str, Any]:
    document = run.get("pipeline_spec") or {}
    return document.get("pipeline_spec", document)


def _tasks(spec: Mapping[str, Any]) -> Iterator[_Task]:
    """The pipeline's tasks, in topological order."""
    tasks = spec.get("root", {}).get("dag", {}).get("tasks", {})
    order = TopologicalSorter({name: task.get("dependentTasks", []) for name, task in sorted(tasks.items())})
    for name in order.static_order():
        yield _Task(name, tasks[name]["taskInfo"]["name"], _memory(spec, tasks[name]))


def _memory(spec: Mapping[str, Any], task: Mapping[str, Any]) -> str | None:
    component = spec.get("components", {}).get(task.get("componentRef", {}).get("name"), {})
    executor = spec.get("deploymentSpec", {}).get("executors", {}).get(component.get("executorLabel"), {})
    return executor.get("container", {}).get("resources", {}).get("resourceMemoryLimit")


class _Tree:
    """The task details as a tree."""

    def __init__(self, details: list[dict[str, Any]]) -> None:
        self._by_id = {detail.get("task_id"): detail for detail in details}

    def below(self, detail: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """All descendants of a detail, in order."""
        for child in detail.get("child_tasks") or []:
            if found := self._by_id.get(child.get("task_id")):
                yield found
                yield from self.below(found)


def _step(task: _Task, detail: dict[str, Any] | None, driver: dict[str, Any] | None, tree: _Tree) -> Step:
    name = task.shown
    if detail is None:
        failed = driver is not None and driver.get("state") == "FAILED"
        return Step(name, "failed" if failed else "pending", error=_error(driver) if failed else "")
    below = [each for each in tree.below(detail) if str(each.get("display_name", "")).startswith(WORKS)]
    pods = tuple(each["pod_name"] for each in below if each.get("pod_name"))
    state = str(detail.get("state") or "pending").lower()
    if state == "succeeded" and below and all(each.get("state") == "SKIPPED" for each in below):
        state = "cached"
    errors = [_error(each) for each in (detail, *below) if _error(each)]
    return Step(name, state, _seconds(detail), pods, _told(task, errors[-1]) if errors else "")


def _told(task: _Task, error: str) -> str:
    """The error of a task's pod; where memory was the cause, with the limit and the key that raises it."""
    if not task.memory or not OUT_OF_MEMORY.search(error):
        return error
    key = f"cluster.{task.shown.split()[0]}.memory"
    return f"{error}: the pod was killed, most likely by its memory limit of {task.memory} — raise {key} in the recipe"


def _seconds(detail: Mapping[str, Any]) -> float | None:
    begun, ended = _time(detail.get("start_time")), _time(detail.get("end_time"))
    return ((ended or datetime.now(UTC)) - begun).total_seconds() if begun else None


def _time(text: str | None) -> datetime | None:
    """Parse a time of the API; Kubernetes encodes a missing time as the year 1 or 1970."""
    if not text:
        return None
    found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return found if found.year > 1970 else None


def _error(detail: Mapping[str, Any] | None) -> str:
    return str(((detail or {}).get("error") or {}).get("message") or "")
