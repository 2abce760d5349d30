import json
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

COMPILED = Path(dag.__file__).parent / "recipes" / "compiled" / "countries.pipeline.yaml"


def compiled(tmp_path, *arguments):
    target = tmp_path / "out.yaml"
    result = CliRunner().invoke(compile_verb, [*arguments, "-o", str(target)], catch_exceptions=False)
    assert result.exit_code == 0
    return target.read_text()


def names(recipe):
    """The recipe's steps as kfp names their tasks."""
    return {dag.task_name(step) for step in dag.steps(recipe)}


def test_the_committed_pipeline_is_what_the_recipe_compiles_to(tmp_path):
    assert compiled(tmp_path, "countries") == COMPILED.read_text(), (
        f"the DAG or the recipe changed: mmkgc compile countries -o {COMPILED.relative_to(Path.cwd())}"
    )


def test_no_step_installs_anything_when_it_starts():
    assert "pip install" not in COMPILED.read_text()


def test_steps_that_write_to_mlflow_are_never_cached():
    spec, _platform = yaml.safe_load_all(COMPILED.read_text())
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
        "package": True,
    }


def test_every_cacheable_step_sees_the_digest_of_the_code():
    spec, _platform = yaml.safe_load_all(COMPILED.read_text())
    for name, task in spec["root"]["dag"]["tasks"].items():
        if task["cachingOptions"]:
            assert task["inputs"]["parameters"]["code"] == {"componentInputParameter": "code"}, name


def test_pods_learn_storage_and_tracking_from_the_cluster():
    _spec, platform = yaml.safe_load_all(COMPILED.read_text())
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert len(executors) == len(dag.steps(config.load("countries")))
    for executor in executors.values():
        assert [variable["name"] for variable in executor["fieldPathAsEnv"]] == ["MMKGC_PIPELINE_RUN"]
        assert executor["configMapAsEnv"]
        assert executor["secretAsEnv"]


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
        assert set(MODALITIES) <= set(step.component_spec.inputs), f"{step.name}: a modality is missing"


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
