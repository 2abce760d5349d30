"""`mmkgc submit` and the verbs beside it, against the stand-in for Kubeflow Pipelines; steps are tiny tasks."""

import re
import time

import pytest
import yaml
from click.testing import CliRunner
from kfp import compiler, dsl

from mmkgc.components.runtime.errors import UserError
from mmkgc.pipeline.cli import mmkgc
from mmkgc.pipeline.runners import clusters, submission, watch
from tests.services.kubeflow.api import KubeflowPipelines

IMAGE = {"base_image": "any", "install_kfp_package": False}


@dsl.component(**IMAGE)
def prepare(text: str):
    print("prepared", text)


@dsl.component(**IMAGE)
def work(place: str):
    """Does what the file says: nothing, break, refuse, sleep."""
    import time
    from pathlib import Path

    told = Path(place).read_text()
    print("told to", told, flush=True)
    if told == "sleep":
        time.sleep(60)
    if told == "break":
        raise RuntimeError("boom")
    if told == "need memory":  # what the kernel does then
        import os

        os.kill(os.getpid(), 9)
    if told == "refuse":
        from mmkgc.components.runtime.errors import UserError

        raise UserError("train.tsv, line 3", "unknown entity", "mend the line")


@pytest.fixture
def told(tmp_path, monkeypatch):
    """Submissions run two tasks; what the second does is in this file."""
    place = tmp_path / "told"
    place.write_text("succeed")

    @dsl.pipeline(name="tiny")
    def pipeline(data: str, code: str):
        first = prepare(text=code)
        worked = work(place=str(place)).after(first).set_caching_options(False).set_display_name("work hard")
        worked.set_memory_limit("2Gi")

    def compiled(recipe, image=None):
        compiler.Compiler().compile(pipeline, str(tmp_path / "tiny.yaml"))
        return {"pipeline_spec": yaml.safe_load((tmp_path / "tiny.yaml").read_text()), "platform_spec": {}}

    monkeypatch.setattr(submission, "compiled", compiled)
    return place


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    for name in ("KFP_ENDPOINT", "KFP_COOKIE", "MLFLOW_TRACKING_URI", "MMKGC_STORAGE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("KFP_TOKEN", "secret")
    monkeypatch.setenv("MMKGC_IMAGE", f"registry.test/mmkgc@sha256:{'ab' * 32}")
    monkeypatch.setattr(watch, "POLL_SECONDS", 0.1)


@pytest.fixture
def call(kubeflow):
    """A verb at the cluster; bad input comes out as the sentence, with exit code 2."""

    def call(verb, *arguments, host=kubeflow.host):
        return invoke(*verb.split(), *arguments, "--host", host)

    return call


def invoke(*arguments):
    result = CliRunner().invoke(mmkgc, list(arguments))
    if isinstance(result.exception, UserError):
        result.exit_code, result.message = 2, str(result.exception)
    elif result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def number(result):
    return re.search(r"run (\S+)", result.output)[1]


def shown(result):
    """Mark of each step as it was shown last."""
    return {name: mark for mark, name in re.findall(r"^([·▸✓=✗-]) (work hard|prepare)", result.stderr, re.MULTILINE)}


def test_a_run_is_followed_to_its_end_and_unchanged_steps_come_from_the_cache(call, told, kubeflow):
    first = call("submit", "countries")
    assert first.exit_code == 0
    assert shown(first) == {"prepare": "✓", "work hard": "✓"}
    assert f"{kubeflow.host}/#/runs/details/{number(first)}" in first.output
    run = kubeflow.runs[number(first)]
    assert run["runtime_config"]["parameters"] == {"data": "countries", "code": "ab" * 32}
    assert run["plugins_input"] == {"mlflow": {"experiment_name": "countries"}}
    assert shown(call("submit", "countries"))["prepare"] == "="
    assert shown(call("submit", "countries", "--no-cache"))["prepare"] == "✓"
    assert shown(call("submit", "countries", "--param", "code=v2"))["prepare"] == "✓"
    assert len(call("runs").output.splitlines()) == 4


def test_a_step_that_breaks_ends_with_its_log_and_the_run_goes_on_there_once_mended(call, told):
    told.write_text("break")
    failed = call("submit", "countries")
    assert failed.exit_code == 1
    assert "RuntimeError: boom" in failed.stderr
    assert f"mmkgc retry {number(failed)}" in failed.output
    assert "told to break" in call("logs", number(failed), "work").output
    told.write_text("succeed")
    again = call("retry", number(failed))
    assert again.exit_code == 0
    assert shown(again)["work hard"] == "✓"


def test_a_pod_that_exceeds_its_memory_is_told_with_the_limit_and_the_key(call, told):
    told.write_text("need memory")
    failed = call("submit", "countries")
    assert failed.exit_code == 1
    assert "exit code 137" in failed.stderr
    assert "memory limit of 2Gi — raise cluster.work.memory in the recipe" in failed.stderr


def test_a_refused_input_is_one_sentence_without_a_traceback(call, told):
    told.write_text("refuse")
    refused = call("submit", "countries")
    assert refused.exit_code == 1
    assert "work hard: train.tsv, line 3: unknown entity — mend the line" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_cancelled_run_leaves_no_pod(call, told, kubeflow):
    told.write_text("sleep")
    run_id = number(call("submit", "countries", "--no-watch"))
    while not any(
        pod.log.exists() and "told to sleep" in pod.log.read_text() for pod in kubeflow.workflows[run_id].pods
    ):
        time.sleep(0.05)
    assert "was cancelled" in call("cancel", run_id).output
    assert all(pod.process.poll() is not None for pod in kubeflow.workflows[run_id].pods)
    assert call("logs", run_id, "--follow").exit_code == 1


def test_ctrl_c_leaves_the_run_alone_where_nobody_can_be_asked(call, told, kubeflow, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(watch.Table, "show", interrupt)
    left = call("submit", "countries")
    assert left.exit_code == 130
    assert f"mmkgc cancel {number(left)}" in left.output
    assert kubeflow.wait(number(left)) == "SUCCEEDED"


def test_an_outage_while_a_run_is_followed_is_waited_for(call, told, kubeflow, monkeypatch):
    create = kubeflow._create_run
    monkeypatch.setattr(kubeflow, "_create_run", lambda body: (create(body), kubeflow.faults.extend([500, 0, 503]))[0])
    followed = call("submit", "countries")
    assert followed.exit_code == 0
    assert "answers 500" in followed.stderr
    assert "no answer" in followed.stderr


@pytest.mark.parametrize("case", ["token", "host", "run", "namespace", "page", "name"])
def test_what_a_user_can_mend_is_one_sentence_within_ten_seconds(case, call, cluster, monkeypatch):
    begun = time.monotonic()
    with KubeflowPipelines(cluster, token="secret", namespaces=("team",)) as standing:
        if case == "token":
            monkeypatch.setenv("KFP_TOKEN", "wrong")
        result, sentence = {
            "token": lambda: (call("runs"), "answers 401"),
            "host": lambda: (call("runs", host="http://127.0.0.1:9"), "no answer"),
            "run": lambda: (call("logs", "absent"), "answers 404: ResourceNotFoundError: absent not found"),
            "namespace": lambda: (call("runs", "--namespace", "others", host=standing.host), "answers 403"),
            "page": lambda: (call("runs", host=cluster.config_maps["mmkgc"]["AWS_ENDPOINT_URL"]), "404"),
            "name": lambda: (call("runs", host="prod"), "no cluster of this name"),
        }[case]()
    assert result.exit_code == 2
    assert sentence in result.message
    assert " — " in result.message
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--param", "cod=v2"), "the pipeline has no such parameter — did you mean 'code'"),
        (("--param", "code"), "no value given"),
        (("--set", "dataset=nowhere"), "no such folder"),
    ],
)
def test_bad_arguments_are_refused_and_nothing_is_submitted(call, told, kubeflow, arguments, sentence):
    result = call("submit", "countries", *arguments)
    assert result.exit_code == 2
    assert sentence in result.message
    assert not kubeflow.runs


@pytest.mark.parametrize(("image", "sentence"), [("", "none is named"), ("mmkgc:0.1.0", "without a registry")])
def test_an_image_that_nodes_cannot_pull_is_refused(call, told, monkeypatch, image, sentence):
    monkeypatch.setenv("MMKGC_IMAGE", image)
    assert sentence in call("submit", "countries").message


def test_the_line_beside_a_running_step_is_the_steps_own():
    log = '[KFP Executor 2026 INFO]: Got executor_input:\n{\n    "inputs": {}\n}\n'
    assert watch.last_line(log) == ""
    assert watch.last_line(f"{log}train 5/50 (2 epoch/s)\n\n") == "train 5/50 (2 epoch/s)"


def test_a_schedule_is_made_switched_and_deleted(call, told, kubeflow):
    made = call("schedule cron", "countries", "0 3 * * *")
    schedule = re.search(r"schedule (\S+):", made.output)[1]
    assert kubeflow.recurring[schedule]["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * *"}}
    assert kubeflow.wait(kubeflow.fire(schedule)["run_id"]) == "SUCCEEDED"
    assert "disabled" in call("schedule disable", schedule).output
    assert kubeflow.fire(schedule) is None
    assert f"{schedule}  disabled" in call("schedule list").output
    assert "enabled" in call("schedule enable", schedule).output
    assert "deleted" in call("schedule delete", schedule).output
    assert not kubeflow.recurring
    assert "this is no cron expression" in call("schedule cron", "countries", "tomorrow").message


NAMED = """
default: prod
clusters:
  prod: {host: HOST, token_file: FILE, storage: s3://bucket/store, mlflow: "http://127.0.0.1:9"}
"""


@pytest.fixture
def named(tmp_path, kubeflow, monkeypatch):
    """A file with one named cluster, whose token is in a file; MLflow does not answer."""
    monkeypatch.delenv("KFP_TOKEN")
    (tmp_path / "token").write_text("secret\n")
    file = clusters.path()
    file.parent.mkdir(parents=True)
    file.write_text(NAMED.replace("HOST", kubeflow.host).replace("FILE", str(tmp_path / "token")))
    return file


def test_a_named_cluster_says_where_store_mlflow_and_token_are(named, told, monkeypatch):
    for name in ("MMKGC_STORAGE", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "")  # undone after the test
    result = invoke("submit", "countries")
    assert result.exit_code == 0
    assert "warning: MLflow at http://127.0.0.1:9: no answer" in result.stderr
    assert "MLflow at http://127.0.0.1:9 does not answer" in result.output


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("clusters: {prod: {host: h, token: abc}}", "prod.token: no secrets in this file"),
        ("clusters: {prod: {host: h, hots: abc}}", "prod.hots"),
        ("clusters: [prod]", "not `clusters:` by name"),
        ("default: dev\nclusters: {prod: {host: h}}", "default: no cluster 'dev' — choose one of: prod"),
    ],
)
def test_a_wrong_file_of_clusters_is_refused(named, text, sentence):
    named.write_text(text)
    result = invoke("runs")
    assert result.exit_code == 2
    assert sentence in result.message


def test_a_cookie_signs_in(call, monkeypatch):
    monkeypatch.delenv("KFP_TOKEN")
    assert call("runs").exit_code == 2
    monkeypatch.setenv("KFP_COOKIE", "authservice_session=secret")
    assert call("runs").exit_code == 0


def test_doctor_looks_at_everything_that_a_submitted_run_needs(call, cluster, tmp_path, monkeypatch):
    for name, value in (cluster.config_maps["mmkgc"] | cluster.secrets["mmkgc-s3"]).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", "/nowhere")  # no kubectl
    monkeypatch.setenv("MLFLOW_TRACKING_URI", cluster.config_maps["mmkgc"]["AWS_ENDPOINT_URL"])  # answers, wrongly
    lines = call("doctor", "--cluster").output.splitlines()
    for well in ("Kubeflow", "image", "store", "secrets"):
        assert any(line.startswith(f"✓ {well}") for line in lines), well
    assert any(line.startswith("✗ MLflow") for line in lines)


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("KFP_TOKEN", "wrong", "answers 401"),
        ("MMKGC_STORAGE", "s3://absent/store", "has no such bucket"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9", "Connection refused"),
        ("MMKGC_STORAGE", "/some/folder", "is a folder of this machine"),
        ("MLFLOW_TRACKING_URI", "http://127.0.0.1:9", "no answer"),
        ("MMKGC_IMAGE", "", "none is named"),
    ],
)
def test_doctor_says_what_is_wrong_within_ten_seconds(call, cluster, monkeypatch, variable, value, sentence):
    for name, text in (cluster.config_maps["mmkgc"] | cluster.secrets["mmkgc-s3"] | {variable: value}).items():
        monkeypatch.setenv(name, text)
    monkeypatch.setenv("PATH", "/nowhere")
    begun = time.monotonic()
    found = call("doctor", "--cluster")
    assert found.exit_code == 1
    assert sentence in found.output
    assert time.monotonic() - begun < 10


def test_doctor_tells_the_keys_that_kubectl_may_see(call, cluster, tmp_path, monkeypatch):
    for name, value in (cluster.config_maps["mmkgc"] | cluster.secrets["mmkgc-s3"]).items():
        monkeypatch.setenv(name, value)
    kubectl = tmp_path / "bin" / "kubectl"
    kubectl.parent.mkdir()
    kubectl.write_text(
        "#!/bin/sh\n"
        """[ "$2" = configmap ] && echo '{"data": {"MMKGC_STORAGE": "s3://bucket/store"}}' && exit 0\n"""
        """[ "$3" = mmkgc-s3 ] && echo '{"data": {"AWS_ACCESS_KEY_ID": "YW55"}}' && exit 0\n"""
        """[ "$3" = mmkgc-mlflow ] && echo 'Error from server (NotFound): secrets not found' >&2 && exit 1\n"""
        """echo 'Error from server (Forbidden): secrets is forbidden' >&2; exit 1\n"""
    )
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{kubectl.parent}:/usr/bin:/bin")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///any.db")
    said = call("doctor", "--cluster").output
    assert "configmap mmkgc: MLFLOW_TRACKING_URI" in said
    assert "secret mmkgc-s3: has AWS_ACCESS_KEY_ID" in said
    assert "secret mmkgc-mlflow: not there (it is optional)" in said
    assert "secret mmkgc-postgresql: not looked at: kubectl says Error from server (Forbidden)" in said
