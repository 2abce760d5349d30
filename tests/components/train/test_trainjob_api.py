"""The train step on several machines: the SDK speaks with Kubernetes' API, which kmock serves."""

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.image import IMAGE
from mmkgc.components.runtime.processes import Stopped
from mmkgc.components.train import trainjob_api
from mmkgc.components.train.config import TrainConfig
from mmkgc.components.train.trainjob import Trainer, pod_settings, train_on_nodes
from mmkgc.components.train.trainjob_process import unpacked
from mmkgc.feature_store.storage import Storage, Stored
from tests.components.train.test_trainjob import SETTINGS
from tests.components.train.trainer_api import JOBS, NAMESPACE, TrainerApi, refusal, trainer_api

pytestmark = pytest.mark.slow
STORED = Stored("s3://bucket/bundles/1", "1")


@pytest.fixture(autouse=True)
def in_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMKGC_PIPELINE_RUN", "run-7")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    monkeypatch.setattr(trainjob_api, "POLL_SECONDS", 0.01)
    monkeypatch.setattr("mmkgc.components.runtime.patience.PAUSE_SECONDS", 0.05)


@pytest.fixture
def train(storage: Storage) -> Callable[[TrainerApi], Stored]:
    """The step, against a server; the job's main process leaves its result when the job is complete."""
    from kubeflow.common.types import KubernetesBackendConfig
    from kubeflow.trainer import TrainerClient
    from kubernetes.client import Configuration

    def step(api: TrainerApi, settings: dict[str, Any] = SETTINGS) -> Stored:
        api.at["Complete"] = lambda: storage.write(f"trainjobs/{name_of(api)}.json", RESULT)
        config = KubernetesBackendConfig(namespace=NAMESPACE, client_configuration=Configuration(host=api.url))
        trainer = Trainer(TrainerClient(config), (pod_settings(),))
        wanted = TrainConfig.model_validate(settings)
        return train_on_nodes("s3://b/graphs/1", {"textual": "s3://b/m.json"}, wanted, storage, None, trainer)

    return step


RESULT = b'{"uri": "s3://bucket/bundles/1", "digest": "1"}'


def name_of(api: TrainerApi) -> str:
    (name,) = [job["metadata"]["name"] for job in api.jobs() if job["metadata"]["name"].startswith("mmkgc-train-")]
    return name


def test_the_job_is_what_the_schema_allows_and_holds_no_secret(train: Any) -> None:
    from kubeflow_trainer_api.models import TrainerV1alpha1TrainJob

    with trainer_api("Created", "Pending", "Running", "Complete") as api:
        assert train(api) == STORED
        (sent,) = [request.data for request in api.kmock["post"]]
    assert TrainerV1alpha1TrainJob.from_dict(sent).to_dict() == sent  # no key that the schema does not know
    made, name = sent["spec"]["trainer"], sent["metadata"]["name"]
    assert made["image"] == IMAGE
    assert made["numNodes"] == 2
    assert made["resourcesPerNode"]["limits"] == {"cpu": "4", "memory": "8Gi"}
    assert {"name": "MMKGC_PIPELINE_RUN", "value": "run-7"} in made["env"]
    command = " ".join(made["command"])
    assert "torchrun" in command
    assert "take_part" in command
    (task,) = re.findall(r"'task': '(.*)'", command)
    assert unpacked(task)["result"] == f"trainjobs/{name}.json"
    assert unpacked(task)["features"] == {"textual": "s3://b/m.json"}
    assert "hush" not in str(sent)
    (patched,) = sent["spec"]["runtimePatches"][0]["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    (container,) = patched["template"]["spec"]["template"]["spec"]["containers"]
    wanted = {"secretKeyRef": {"name": "mmkgc-s3", "key": "AWS_SECRET_ACCESS_KEY", "optional": True}}
    assert {"name": "AWS_SECRET_ACCESS_KEY", "valueFrom": wanted} in container["env"]


def test_its_states_and_its_output_are_printed_as_they_come(train: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with trainer_api("Created", "Pending", "Running", "Complete") as api:
        api.outputs = [b"epoch 1\n", b"epoch 1\nepoch 2\n"]  # the connection ended early
        train(api)
        name = name_of(api)
    assert capsys.readouterr().out.splitlines() == [
        f"train submitted {name}: 2 nodes",
        f"train {name}: Created, pods: none yet",
        f"train {name}: Created, pods: 2 Pending",
        f"train {name}: Running, pods: 2 Running",
        "epoch 1",
        f"train {name}: Complete, pods: 2 Running",
        "epoch 2",
    ]


@pytest.mark.parametrize(
    ("output", "cause"),
    [
        (
            b"mmkgc.components.UserError: start: there is no model bundle\nRuntimeError: Connection closed by peer\n",
            "start:",
        ),
        (
            b"RuntimeError: out of memory\ntorch.distributed.elastic.multiprocessing.errors.ChildFailedError: x\n",
            "Runt",
        ),
        (b"epoch 1\nKilled\n", "Killed"),
        (b"", "it printed nothing"),
    ],
)
def test_a_failed_job_fails_the_step_with_its_cause(train: Any, output: bytes, cause: str) -> None:
    with trainer_api("Running", "Failed") as api:
        api.outputs = [output]
        with pytest.raises(UserError, match=f"^TrainJob mmkgc-train-[0-9a-f]+: failed: {cause}[^\n]* — the step's log"):
            train(api)
        assert not api.jobs(), "a further attempt would follow it"


def test_a_cancelled_step_deletes_the_job(train: Any) -> None:
    with trainer_api("Pending", "Running") as api:
        api.at["Running"] = lambda: os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped):
            train(api)
        assert not api.jobs()


def test_a_job_that_cannot_be_deleted_is_told_with_the_command(train: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with trainer_api("Failed") as api:
        api.refusals["delete"] = [refusal(403, 'User "step" cannot delete trainjobs')]
        with pytest.raises(UserError, match="it printed nothing"):
            train(api)
    out = capsys.readouterr().out
    assert 'User "step" cannot delete trainjobs — kubectl delete trainjob mmkgc-train-' in out


def test_a_step_that_is_started_again_follows_the_job_that_is_there(
    train: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with trainer_api("Running", "Complete") as api:
        assert train(api) == train(api) == STORED
        name = name_of(api)
    assert f"train follows {name}, which is there already\n" in capsys.readouterr().out


def test_the_rights_in_the_documents_allow_what_the_step_asks(train: Any) -> None:
    with trainer_api("Running", "Failed") as api:
        with pytest.raises(UserError):
            train(api)
        asked = {right_of(request) for request in api.kmock if request.resource.plural != "configmaps"}
    text = (
        (Path(__file__).parents[3] / "infra" / "README.md").read_text().partition("## Training on several machines")[2]
    )
    roles = list(yaml.safe_load_all(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0]))
    rules = [rule for role in roles for rule in role["rules"]]
    given = {(verb, rule["apiGroups"][0], rule["resources"][0]) for rule in rules for verb in rule["verbs"]}
    assert asked == given
    assert {rule["resources"][0] for rule in roles[1]["rules"]} == {"clustertrainingruntimes"}


def right_of(request: Any) -> tuple[str, str, str]:
    """Verb, API group and resource, as a Role names them."""
    verb = "get" if request.action is None or request.action.value == "FETCH" else request.action.value.lower()
    return verb, request.resource.group, "/".join(filter(None, (request.resource.plural, request.subresource)))


def test_jobs_of_others_do_not_matter(train: Any) -> None:
    with trainer_api("Complete") as api:
        api.kmock.objects[JOBS, NAMESPACE, "other"] = {"metadata": {"name": "other"}}
        assert train(api) == STORED


def test_the_shell_that_starts_the_job_leaves_its_task_as_it_is(train: Any, tmp_path: Path) -> None:
    odd = {**SETTINGS, "start": "a$HOME`b`\\\"c'ä"}
    with trainer_api("Complete") as api:
        train(api, odd)
        (sent,) = [request.data for request in api.kmock["post"]]
    (tmp_path / "torchrun").write_text("#!/bin/sh\n")
    (tmp_path / "torchrun").chmod(0o755)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(sent["spec"]["trainer"]["command"], cwd=tmp_path, env=path, check=True)
    (call,) = re.findall(r"'task': '(.*)'", (tmp_path / "trainjob.py").read_text())
    assert TrainConfig.model_validate_json(unpacked(call)["config"]) == TrainConfig.model_validate(odd)


@pytest.mark.parametrize(
    ("kind", "status", "mend"),
    [
        (
            "create",
            403,
            "give the account of the step's pod the rights in infra/README.md, 'Training on several machines'",
        ),
        ("create", 404, "install Kubeflow Trainer 2 and its ClusterTrainingRuntimes, or set train.nodes=1"),
        ("create", 422, ""),
        ("get", 404, "somebody deleted the job: run the step again"),
    ],
)
def test_a_refusal_is_one_sentence_with_its_mend(train: Any, kind: str, status: int, mend: str) -> None:
    with trainer_api("Running", "Complete") as api:
        api.refusals[kind] = [refusal(status, 'User "step" cannot do this')]
        with pytest.raises(UserError) as told:
            train(api)
        assert not api.jobs()
    assert str(told.value) == 'Kubernetes: User "step" cannot do this' + (f" — {mend}" if mend else "")


def test_an_api_that_is_away_is_waited_for(train: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with trainer_api("Running", "Complete") as api:
        api.refusals = {kind: [refusal(503, "etcd is away")] * 2 for kind in api.refusals}
        assert train(api) == STORED
    monkeypatch.setenv("MMKGC_PATIENCE_SECONDS", "0.1")
    with pytest.raises(UserError, match=r"^Kubernetes: .*refused.*, still so after 0 s — see whether its API answers"):
        train(api)
