import inspect
import json
import shlex
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from mmkgc.components.dataset.modalities import MODALITIES
from mmkgc.components.extract.config import step_name
from mmkgc.components.search.component import search
from mmkgc.components.train.component import train
from mmkgc.pipeline import config, dag
from mmkgc.pipeline.cli.compile import compile as compile_verb

COMPILED = Path(dag.__file__).parent / "recipes" / "compiled"
COMMANDS = [
    shlex.split(line) for line in (COMPILED / "compile.sh").read_text().splitlines() if line.startswith("mmkgc")
]
COMMITTED = {name: arguments for _, _, name, *arguments, _, _ in COMMANDS}
"""Recipes whose compiled pipelines are committed, with the options that they were compiled with."""


def compiled(tmp_path, *arguments):
    target = tmp_path / "out.yaml"
    result = CliRunner().invoke(compile_verb, [*arguments, "-o", str(target)], catch_exceptions=False)
    assert result.exit_code == 0
    return target.read_text()


@pytest.fixture
def committed():
    """The compiled `countries`: its pipeline, and what its pods ask for."""
    return tuple(yaml.safe_load_all((COMPILED / "countries.pipeline.yaml").read_text()))


def names(recipe):
    """The recipe's steps as kfp names their tasks."""
    return {dag.task_name(step) for step in dag.steps(recipe)}


@pytest.mark.parametrize("name", COMMITTED)
def test_a_committed_pipeline_is_what_its_recipe_compiles_to(tmp_path, name):
    committed = (COMPILED / f"{name}.pipeline.yaml").read_text()
    assert compiled(tmp_path, name, *COMMITTED[name]) == committed, "the DAG or the recipe changed: `make compiled`"


@pytest.mark.parametrize("name", COMMITTED)
def test_no_step_installs_anything_when_it_starts(name):
    assert "pip install" not in (COMPILED / f"{name}.pipeline.yaml").read_text()


def test_steps_that_write_to_mlflow_are_never_cached(committed):
    spec, _platform = committed
    cached = {
        name: task["cachingOptions"].get("enableCache", False) for name, task in spec["root"]["dag"]["tasks"].items()
    }
    assert cached == {
        "ingest": True,
        "extract-numeric": True,
        "extract-textual": True,
        "extract-visual": True,
        "train": True,
        "evaluate": False,
        "register": False,
        "propose": False,
        "package": True,
    }


def test_every_cacheable_step_sees_the_digest_of_the_code(committed):
    spec, _platform = committed
    for name, task in spec["root"]["dag"]["tasks"].items():
        if task["cachingOptions"]:
            assert task["inputs"]["parameters"]["code"] == {"componentInputParameter": "code"}, name


def pods(platform):
    """What each executor's pod asks for, by step."""
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    return {name.removeprefix("exec-"): executor for name, executor in executors.items()}


def containers(spec):
    return {name.removeprefix("exec-"): each["container"] for name, each in spec["deploymentSpec"]["executors"].items()}


def test_pods_learn_storage_tracking_and_their_run_from_the_cluster(committed):
    _spec, platform = committed
    assert len(pods(platform)) == len(dag.steps(config.load("countries")))
    for pod in pods(platform).values():
        assert [variable["name"] for variable in pod["fieldPathAsEnv"]] == ["MMKGC_PIPELINE_RUN", "MMKGC_RUN"]
        required, optional = pod["configMapAsEnv"]
        assert [pair["envVar"] for pair in required["keyToEnv"]] == ["MMKGC_STORAGE", "MLFLOW_TRACKING_URI"]
        assert (required["optional"], optional["optional"]) == (False, True)
        assert all(secret["optional"] for secret in pod["secretAsEnv"])


def test_experiment_and_model_are_named_when_the_pipeline_is_compiled(committed):
    spec, platform = committed
    told = {step: json.loads(pod["podMetadata"]["annotations"]["mmkgc/run"]) for step, pod in pods(platform).items()}
    assert {each["experiment"] for each in told.values()} == {"countries"}
    assert [step for step, each in told.items() if "params" in each] == ["evaluate"]
    register = spec["root"]["dag"]["tasks"]["register"]["inputs"]["parameters"]["config"]["runtimeValue"]["constant"]
    assert json.loads(register)["model"] == "countries"


def test_pods_need_no_root_and_write_to_volumes_only(committed):
    spec, platform = committed
    for pod in pods(platform).values():
        assert pod["securityContext"] == {"runAsNonRoot": True}
        assert {mount["mountPath"] for mount in pod["emptyDirMounts"]} == {"/tmp", "/dev/shm"}
    for container in containers(spec).values():
        env = {variable["name"]: variable["value"] for variable in container["env"]}
        assert env["NUMBA_CACHE_DIR"].startswith("/tmp/")
        assert env["MMKGC_HOME"].startswith("/tmp/")


def test_a_recipe_says_what_each_steps_pod_asks_for(tmp_path):
    settings = [
        "cluster.train={cpu: 2.5, memory: 32Gi, gpu: 1, shm: 8Gi, hours: 12, retries: 3}",
        "cluster.all={node_selector: {pool: batch}, env: {HF_HOME: /models}}",
        "cluster.extract.tolerations=[{key: gpu, operator: Exists, effect: NoSchedule}]",
        "cluster.pull_secrets=[registry]", "cluster.run_as_user=12345", "cluster.hours=48", "cluster.keep_hours=24",
    ]  # fmt: skip
    text = compiled(tmp_path, "countries", *(part for setting in settings for part in ("--set", setting)))
    spec, platform = yaml.safe_load_all(text)
    train, container = pods(platform)["train"], containers(spec)["train"]
    limits = container["resources"]
    assert (limits["resourceCpuLimit"], limits["resourceMemoryLimit"]) == ("2.5", "32Gi")
    assert (limits["accelerator"]["resourceType"], limits["accelerator"]["resourceCount"]) == ("nvidia.com/gpu", "1")
    assert {"name": "OMP_NUM_THREADS", "value": "3"} in container["env"]
    assert {"name": "HF_HOME", "value": "/models"} in container["env"]
    assert train["activeDeadlineSeconds"] == str(12 * 3600)
    assert train["emptyDirMounts"][1]["sizeLimit"] == "8Gi"
    assert spec["root"]["dag"]["tasks"]["train"]["retryPolicy"]["maxRetryCount"] == 3
    assert "retryPolicy" not in spec["root"]["dag"]["tasks"]["ingest"]
    for pod in pods(platform).values():
        assert pod["nodeSelector"]["labels"] == {"pool": "batch"}
        assert pod["securityContext"]["runAsUser"] == "12345"
        assert pod["imagePullSecret"][0]["secretName"] == "registry"
    assert [toleration["key"] for toleration in pods(platform)["extract-textual"]["tolerations"]] == ["gpu"]
    whole = platform["platforms"]["kubernetes"]["pipelineConfig"]
    assert (whole["activeDeadlineSeconds"], whole["workspace"]["size"]) == (48 * 3600, "10Gi")


def test_checkpoints_lie_in_the_runs_workspace_where_there_is_one(tmp_path, committed):
    spec, _platform = committed
    given = spec["root"]["dag"]["tasks"]["train"]["inputs"]["parameters"]
    assert given["workspace"]["runtimeValue"]["constant"] == "{{$.workspace_path}}"
    without = next(yaml.safe_load_all(compiled(tmp_path, "countries", "--set", "cluster.workspace=null")))
    assert "workspace" not in without["root"]["dag"]["tasks"]["train"]["inputs"]["parameters"]


def test_a_recipe_decides_which_steps_there_are(tmp_path):
    recipe = config.load(
        "countries", ["extract.visual=null", "search.trials=3", "search.space={optimizer.lr: {values: [0.1]}}"]
    )
    assert dag.steps(recipe) == [
        "ingest",
        "extract numeric",
        "extract textual",
        "search",
        "train",
        "evaluate",
        "register",
        "propose",
        "package",
    ]
    text = compiled(
        tmp_path,
        "countries",
        *("--set", "extract.visual=null"),
        *("--set", "search.trials=3"),
        *("--set", "search.space={optimizer.lr: {values: [0.1]}}"),
    )
    spec = next(yaml.safe_load_all(text))
    tasks = spec["root"]["dag"]["tasks"]
    assert set(tasks) == names(recipe)
    assert tasks["search"]["cachingOptions"] == {}
    assert "best" in tasks["train"]["inputs"]["artifacts"]


SPREAD = (
    *("search.trials=3", "search.workers=4", "search.storage=postgresql+psycopg://mmkgc@db/mmkgc"),
    "search.space={optimizer.lr: {values: [0.1]}}",
)


def test_workers_that_share_a_database_are_tasks_and_one_after_them_feeds_train(tmp_path):
    recipe = config.load("countries", SPREAD)
    settings = [part for setting in SPREAD for part in ("--set", setting)]
    spec, platform = yaml.safe_load_all(compiled(tmp_path, "countries", *settings))
    tasks = spec["root"]["dag"]["tasks"]
    (loop,) = [name for name, task in tasks.items() if "parameterIterator" in task]
    assert set(tasks) - {loop} == names(recipe) - {"search-worker"}
    assert json.loads(tasks[loop]["parameterIterator"]["items"]["raw"]) == [1, 2, 3, 4]
    assert tasks[loop]["iteratorPolicy"]["parallelismLimit"] == 4
    ((name, worker),) = spec["components"][tasks[loop]["componentRef"]["name"]]["dag"]["tasks"].items()
    assert name == "search-worker"
    assert worker["inputs"]["parameters"]["worker"]["componentInputParameter"].endswith("loop-item-param-1")
    assert worker["cachingOptions"] == {}
    collected = tasks["search"]
    assert loop in collected["dependentTasks"]
    assert tasks["train"]["inputs"]["artifacts"]["best"]["taskOutputArtifact"]["producerTask"] == "search"
    for task in (worker, collected):
        given = json.loads(task["inputs"]["parameters"]["config"]["runtimeValue"]["constant"])
        assert (given["workers"], given["trials"]) == (1, 3)
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert len(executors) == len(dag.steps(recipe)), "workers, too, learn where storage and tracking are"


def test_shards_of_an_extraction_are_tasks_and_one_after_them_commits(tmp_path):
    divided = ("extract.shards=4", "extract.visual=null")
    spec, platform = yaml.safe_load_all(
        compiled(tmp_path, "countries", *(x for each in divided for x in ("--set", each)))
    )
    recipe = config.load("countries", divided)
    tasks = spec["root"]["dag"]["tasks"]
    (loop,) = [name for name, task in tasks.items() if "parameterIterator" in task]
    assert set(tasks) - {loop} == names(recipe) - {"extract-textual-shard"}, "numbers follow from a formula"
    assert json.loads(tasks[loop]["parameterIterator"]["items"]["raw"]) == [1, 2, 3, 4]
    ((name, shard),) = spec["components"][tasks[loop]["componentRef"]["name"]]["dag"]["tasks"].items()
    assert name == "extract-textual-shard"
    assert shard["inputs"]["parameters"]["shard"]["componentInputParameter"].endswith("loop-item-param-1")
    assert loop in tasks["extract-textual"]["dependentTasks"]
    given = [
        json.loads(task["inputs"]["parameters"]["config"]["runtimeValue"]["constant"])["shards"]
        for task in (shard, tasks["extract-textual"])
    ]
    assert given == [4, 1], "the step's place in the cache does not depend on the shards"
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert len(executors) == len(dag.steps(recipe)), "shards, too, learn where the store is"


def test_proposals_are_a_step_where_the_recipe_wants_them(tmp_path):
    wanted = ("--set", "propose.enabled=true")
    recipe = config.load("countries", [wanted[1]])
    assert dag.steps(recipe)[-3:] == ["register", "propose", "package"]
    tasks = next(yaml.safe_load_all(compiled(tmp_path, "countries", *wanted)))["root"]["dag"]["tasks"]
    assert set(tasks) == names(recipe)
    assert tasks["propose"]["cachingOptions"] == {}
    assert set(tasks["propose"]["dependentTasks"]) == {"register", "train"}


def test_every_modality_is_an_input_of_the_steps_that_learn():
    for step in (train, search):
        assert set(MODALITIES) <= set(step.component_spec.inputs), (
            f"components/{step.name}/component.py has no input for a modality"
        )
        body = inspect.getsource(step.python_func)
        for modality in MODALITIES:
            assert f"{modality}={modality}" in body, f"components/{step.name}/component.py does not hand on {modality}"


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_step_has_one_name_everywhere(tmp_path, modality):
    encoder = MODALITIES[modality].encoder
    settings = [f"extract.{modality}.encoder={encoder}"]
    settings += [f"extract.{other}=null" for other in MODALITIES if other != modality]
    assert dag.steps(config.load("countries", settings))[1] == step_name(modality) == f"extract {modality}"
    arguments = [part for setting in settings for part in ("--set", setting)]
    tasks = next(yaml.safe_load_all(compiled(tmp_path, "countries", *arguments)))["root"]["dag"]["tasks"]
    assert tasks[f"extract-{modality}"]["taskInfo"]["name"] == f"extract {modality}"
    assert set(tasks["train"]["inputs"]["artifacts"]) == {"graph", modality}
