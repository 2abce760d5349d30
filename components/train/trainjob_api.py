"""A TrainJob of Kubeflow Trainer, as the train step sees it: followed to its end, deleted, errors in one sentence."""

import json
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.failures import CAUSE
from mmkgc.components.runtime.patience import Away, patiently

POLL_SECONDS = 5.0
LAST_LINES = 100  # of the output, in which the cause of a failure is looked for; torchrun ends with many of its own
FIRST = "node-0"
"""The SDK's name of the pod whose output it reads."""
ABSENT, THERE_ALREADY = 404, 409  # HTTP
MENDS = {
    401: "give the step's pod a service account",
    403: "give the account of the step's pod the rights in infra/README.md, 'Training on several machines'",
    ABSENT: "install Kubeflow Trainer 2 and its ClusterTrainingRuntimes, or set train.nodes=1",
}
Answer = TypeVar("Answer")


def asked(ask: Callable[[], Answer], absent: str = MENDS[ABSENT]) -> Answer:
    """The answer to a call of the SDK. Waits while Kubernetes does not answer, as ``patiently`` does.

    Raises UserError if Kubernetes refuses; ``absent`` says how to mend that something is not there.
    """

    def once() -> Answer:
        try:
            return ask()
        except (RuntimeError, TimeoutError) as error:
            raise _told(error, absent) from error

    return patiently(once)


def status_of(error: BaseException) -> int | None:
    """HTTP status of the refusal behind an error of the SDK, which wraps it; None if Kubernetes did not answer."""
    return getattr(_refusal(error), "status", None) or None


def created(create: Callable[[], Any]) -> bool:
    """Create a job; False if one of this name is there already."""
    try:
        asked(create)
    except UserError as error:
        if status_of(error) != THERE_ALREADY:
            raise
        return False
    return True


def follow(client: Any, name: str) -> None:
    """Print the states and the output of a job until it ends. Raises UserError if it fails or is deleted."""
    from kubeflow.trainer.constants.constants import TRAINJOB_COMPLETE, TRAINJOB_FAILED

    output, told = _Output(client, name), ""
    while True:
        job = asked(lambda: client.get_job(name), "somebody deleted the job: run the step again")
        phases = Counter(str(step.status) for step in job.steps)
        state = f"{job.status}, pods: {', '.join(f'{count} {phase}' for phase, count in phases.items()) or 'none yet'}"
        if state != told:
            print(f"train {name}: {state}", flush=True)
            told = state
        output.show(next((step.pod_name for step in job.steps if step.name == FIRST), None))
        if job.status == TRAINJOB_COMPLETE:
            return
        if job.status == TRAINJOB_FAILED:
            raise UserError(f"TrainJob {name}", f"failed: {output.cause()}", "the step's log holds its output")
        time.sleep(POLL_SECONDS)


def delete(client: Any, name: str) -> None:
    """Delete a job, which ends its pods; says so if that is not possible, and raises nothing."""
    try:
        client.delete_job(name)
    except Exception as error:
        if status_of(error) != ABSENT:
            what = _message(error)
            print(f"train could not delete {name}: {what} — kubectl delete trainjob {name}", flush=True)


class _Output:
    """What the first pod of a job printed, as far as it was shown."""

    def __init__(self, client: Any, name: str) -> None:
        self.client, self.name = client, name
        self.pod: str | None = None
        self.shown = 0
        self.complaint = ""
        self.last = deque[str](maxlen=LAST_LINES)

    def show(self, pod: str | None) -> None:
        """Print what came since, until the output ends. A connection that breaks does not end the training."""
        if pod != self.pod:  # a pod that takes the place of another begins anew
            self.pod, self.shown = pod, 0
        try:
            for number, line in enumerate(self._lines(), 1):
                if number > self.shown:
                    print(line, flush=True)
                    self.last.append(line)
                    self.shown = number
        except (RuntimeError, TimeoutError) as error:
            if (complaint := _message(error)) != self.complaint:
                print(f"train cannot read the output of {self.name}, and goes on: {complaint}", flush=True)
                self.complaint = complaint

    def _lines(self) -> Iterator[str]:
        for text in self.client.get_job_logs(self.name, follow=True):
            yield from text.splitlines()

    def cause(self) -> str:
        """The error that the output tells: a UserError, else the last one that is not torchrun's own."""
        found = [match[0] for line in self.last if (match := CAUSE.search(line))]
        ours = [each for each in found if "torch.distributed.elastic" not in each]
        by_users = [each for each in ours if "UserError: " in each]
        for errors in (by_users, ours, self.last):
            if errors:
                return errors[-1].rpartition("UserError: ")[2]
        return "it printed nothing"


def _told(error: Exception, absent: str) -> Exception:
    """The error that tells what is behind an error of the SDK."""
    if _refusal(error) is None:
        return error  # the SDK's own
    status = status_of(error)
    if status is None or status == 429 or status >= 500:
        return Away("Kubernetes", _message(error), "see whether its API answers: kubectl get trainjobs")
    return UserError("Kubernetes", _message(error), absent if status == ABSENT else MENDS.get(status, ""))


def _message(error: BaseException) -> str:
    """What Kubernetes says, without the SDK's words; what the SDK says if Kubernetes says nothing."""
    refusal = _refusal(error)
    try:
        return str(json.loads(getattr(refusal, "body", ""))["message"])
    except (ValueError, TypeError, KeyError):
        return " ".join(str(refusal or error).split())


def _refusal(error: BaseException) -> BaseException | None:
    """The error of Kubernetes' client, or of the network, among the causes of an error of the SDK."""
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, ApiException | HTTPError | ConnectionError | TimeoutError):
        behind = behind.__cause__
    return behind
