"""A client of the REST API of Kubeflow Pipelines (v2beta1) for runs and schedules.

``kfp.Client`` is not used because it waits forever for a cancelled run, retries an absent host for half a minute,
ignores caching options, and does not support plugins in runs.
"""

import json
import time
from typing import Any

import httpx

from mmkgc.components.runtime.errors import UserError
from mmkgc.pipeline.runners.clusters import Cluster

TIMEOUT_SECONDS = 8.0
ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
MENDS = {
    401: "the token or cookie is not accepted: renew it (token_file, $KFP_TOKEN or $KFP_COOKIE)",
    403: "you have no right there: check --namespace, or ask whoever runs the cluster",
    404: "check the id, the address and the namespace",
    409: "it exists already: choose another name",
}


class Unavailable(Exception):
    """The cluster does not answer or is temporarily unavailable; the call may be retried."""


class Kubeflow:
    """API of one cluster. Calls raise UserError for errors the user can fix, Unavailable for temporary ones."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.host = cluster.host.rstrip("/")
        self._http = httpx.Client(base_url=self.host, timeout=TIMEOUT_SECONDS, follow_redirects=False)

    def experiment(self, name: str) -> str:
        """Id of the experiment, which is created if it does not exist."""
        predicate = {"predicates": [{"operation": "EQUALS", "key": "name", "string_value": name}]}
        query = self._scoped({"filter": json.dumps(predicate)})
        found = self._call("GET", "/apis/v2beta1/experiments", query).get("experiments") or []
        if found:
            return found[0]["experiment_id"]
        body = self._scoped({"display_name": name})
        return self._call("POST", "/apis/v2beta1/experiments", body=body)["experiment_id"]

    def create_run(self, body: dict[str, Any]) -> str:
        """Start a run; returns its id."""
        return self._call("POST", "/apis/v2beta1/runs", body=body)["run_id"]

    def run(self, run_id: str) -> dict[str, Any]:
        """Get a run with the details of its tasks."""
        return self._call("GET", f"/apis/v2beta1/runs/{run_id}")

    def runs(self, count: int = 20) -> list[dict[str, Any]]:
        """List the newest runs, newest first."""
        query = self._scoped({"page_size": str(count), "sort_by": "created_at desc"})
        return self._call("GET", "/apis/v2beta1/runs", query).get("runs") or []

    def cancel(self, run_id: str) -> None:
        """Cancel a run and terminate its pods."""
        self._call("POST", f"/apis/v2beta1/runs/{run_id}:terminate")

    def retry(self, run_id: str) -> None:
        """Resume a failed or cancelled run from the steps that did not succeed."""
        self._call("POST", f"/apis/v2beta1/runs/{run_id}:retry")

    def log(self, run_id: str, pod: str) -> str:
        """Get the current log of a pod."""
        path = f"/apis/v1alpha1/runs/{run_id}/nodes/{pod}/log"
        return self._answer("GET", path, None, None).text

    def create_schedule(self, body: dict[str, Any]) -> str:
        """Create a recurring run; returns its id."""
        return self._call("POST", "/apis/v2beta1/recurringruns", body=body)["recurring_run_id"]

    def schedules(self) -> list[dict[str, Any]]:
        """List the recurring runs."""
        found = self._call("GET", "/apis/v2beta1/recurringruns", self._scoped({"page_size": "100"}))
        return found.get("recurringRuns") or found.get("recurring_runs") or []

    def switch_schedule(self, schedule_id: str, action: str) -> None:
        """``enable`` or ``disable`` a recurring run."""
        self._call("POST", f"/apis/v2beta1/recurringruns/{schedule_id}:{action}")

    def delete_schedule(self, schedule_id: str) -> None:
        """Delete a recurring run; the runs that it started are kept."""
        self._call("DELETE", f"/apis/v2beta1/recurringruns/{schedule_id}")

    def health(self) -> dict[str, Any]:
        """Get the health status of the API."""
        return self._call("GET", "/apis/v2beta1/healthz")

    def link(self, run_id: str) -> str:
        """URL of the run's page."""
        return f"{self.host}/#/runs/details/{run_id}"

    def _scoped(self, values: dict[str, Any]) -> dict[str, Any]:
        return values | ({"namespace": self.cluster.namespace} if self.cluster.namespace else {})

    def _call(
        self, method: str, path: str, query: dict[str, str] | None = None, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        response = self._answer(method, path, query, body)
        try:
            return response.json() if response.content else {}
        except ValueError as error:
            what = f"{response.headers.get('content-type', 'no JSON')} instead of Kubeflow Pipelines' API"
            raise UserError(self.host, what, "give the address of Kubeflow Pipelines itself; sign in anew") from error

    def _answer(self, method: str, path: str, query: Any, body: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, params=query, json=body, headers=self.cluster.headers())
        except httpx.InvalidURL as error:
            raise UserError(f"--host {self.host}", f"no address ({error})", "write https://…") from error
        except (httpx.HTTPError, OSError) as error:
            raise Unavailable(f"{self.host}: no answer ({_reason(error)})") from error
        if response.is_redirect:
            raise UserError(self.host, "you are sent to a page to sign in", MENDS[401])
        if response.status_code >= 500 or response.status_code == 429:
            raise Unavailable(f"{self.host}: answers {response.status_code} ({_message(response)})")
        if response.is_error:
            mend = MENDS.get(response.status_code, "")
            raise UserError(self.host, f"answers {response.status_code}: {_message(response)}", mend)
        return response


def patiently(call: Any, *arguments: Any, seconds: float = 300.0, pause: float = 5.0, tell: Any = None) -> Any:
    """Retry ``call`` while the cluster is unavailable, at most for ``seconds``; then raise UserError.

    ``tell`` is called with the message of each failure.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return call(*arguments)
        except Unavailable as error:
            if time.monotonic() >= deadline:
                mend = "check the address, the port-forward and the network"
                raise UserError(str(error), f"still so after {seconds:.0f} s", mend) from error
            if tell:
                tell(str(error))
            time.sleep(pause)


def _message(response: httpx.Response) -> str:
    try:
        body = response.json()
        text = body.get("message") or body.get("error") or ""
    except (ValueError, AttributeError):
        text = response.text
    return " ".join(str(text).split())[:200] or response.reason_phrase


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
