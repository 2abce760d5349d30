"""The Kubeflow pipeline: steps wired by artifacts, composed from a recipe."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from kfp import dsl
from kfp.dsl import PipelineTask
from kfp.dsl.pipeline_context import Pipeline
from pydantic import BaseModel

from mmkgc.components.evaluate.component import evaluate
from mmkgc.components.extract.component import extract
from mmkgc.components.extract.config import ImportedConfig, step_name
from mmkgc.components.ingest.component import ingest
from mmkgc.components.package.component import package
from mmkgc.components.propose.component import propose
from mmkgc.components.register.component import register
from mmkgc.components.search.component import search
from mmkgc.components.train.component import train
from mmkgc.pipeline.config import Recipe

SEARCH_WORKER = "search worker"


class Outputs(NamedTuple):
    """What a run leaves behind."""

    graph: dsl.Dataset
    evaluation: dsl.Artifact
    registration: dsl.Artifact
    archive: dsl.Model


def build(
    recipe: Recipe,
    prepare: Callable[[PipelineTask], None] | None = None,
    pipeline_config: dsl.PipelineConfig | None = None,
) -> Any:
    """The pipeline of a recipe. Its arguments say what a cache key cannot see: ``data`` is the fingerprint of the
    dataset, ``code`` the digest of the code that runs.

    ``prepare`` adds to every task, and ``pipeline_config`` to the whole, what the place where it runs asks for
    (``mmkgc.pipeline.runners.cluster``).

    The recipe's values are constants of the pipeline, so that the compiled file says all that a run does. Steps whose
    output depends on their inputs alone are cached. Search, evaluation, registration and proposals never are: they
    write to MLflow. Nor is the import of vectors: it reads a file that is no input.
    """
    config = {name: part.model_dump_json() for name, part in _parts(recipe).items()}
    keeps = {"workspace": dsl.WORKSPACE_PATH_PLACEHOLDER} if pipeline_config and pipeline_config.workspace else {}

    @dsl.pipeline(name=pipeline_name(recipe.name), description=_description(recipe), pipeline_config=pipeline_config)
    def pipeline(data: str, code: str) -> Outputs:
        ingested = ingest(dataset=recipe.dataset, config=config["ingest"], data=data, code=code)
        graph = ingested.outputs["graph"]
        features: dict[str, Any] = {
            modality: named(extract, step_name(modality))(
                graph=graph, modality=modality, config=recipe.extract.only(modality).model_dump_json(), code=code
            )
            .set_display_name(step_name(modality))
            .set_caching_options(not isinstance(recipe.extract.encoder(modality), ImportedConfig))
            .outputs["features"]
            for modality in recipe.extract.modalities()
        }
        best = _best(recipe, {"graph": graph, "train": config["train"], **features})
        bundle = train(graph=graph, config=config["train"], code=code, **features, **best, **keeps).outputs["bundle"]
        evaluated = evaluate(graph=graph, bundle=bundle, config=config["evaluate"]).set_caching_options(False)
        evaluation = evaluated.outputs["evaluation"]
        registered = register(graph=graph, bundle=bundle, evaluation=evaluation, config=config["register_"])
        registration = registered.set_caching_options(False).output
        if recipe.propose.enabled:
            propose(bundle=bundle, registration=registration, config=config["propose"]).set_caching_options(False)
        archive = package(graph=graph, bundle=bundle, config=config["package"], code=code).output
        if prepare:
            for task in Pipeline.get_default_pipeline().tasks.values():
                prepare(task)
        return Outputs(graph=graph, evaluation=evaluation, registration=registration, archive=archive)

    return pipeline


def pipeline_name(name: str) -> str:
    """A recipe's name as Kubeflow takes it: a to z, 0 to 9, and single hyphens within."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _best(recipe: Recipe, inputs: dict[str, Any]) -> dict[str, Any]:
    """What the search gives ``train``; nothing where there is none.

    Spread workers are tasks that join one study. The task after them runs the trials that a failed worker left, none
    mostly, and reads the best.
    """
    if not recipe.search.trials:
        return {}
    alone = recipe.search.model_copy(update={"workers": 1}) if recipe.search.is_spread else recipe.search
    inputs |= {"config": alone.model_dump_json()}
    workers = []
    if recipe.search.is_spread:
        numbers = list(range(1, recipe.search.workers + 1))
        with dsl.ParallelFor(numbers, name="search workers", parallelism=len(numbers)) as number:
            worker = named(search, SEARCH_WORKER)(worker=number, **inputs)
            workers = [worker.set_display_name(SEARCH_WORKER).set_caching_options(False)]
    return {"best": search(**inputs).after(*workers).set_caching_options(False).outputs["best"]}


def named(component: Any, step: str) -> Any:
    """The component under the name of a step: kfp calls a task, wherever it shows one, as its component."""
    spec = replace(component.component_spec, name=task_name(step))
    return type(component)(spec, component.python_func)


def task_name(step: str) -> str:
    """A step's name as Kubeflow writes it, without blanks."""
    return step.replace(" ", "-")


def _parts(recipe: Recipe) -> dict[str, BaseModel]:
    """The steps' configurations. They travel as JSON text: kfp's own dictionaries know neither null nor integers."""
    parts = {name: part for name, part in recipe if isinstance(part, BaseModel)}
    own = {"model": recipe.register_.model or recipe.name}  # not the experiment's, which on a cluster may be another
    return parts | {"register_": recipe.register_.model_copy(update=own)}


def _description(recipe: Recipe) -> str:
    return f"Multi-modal knowledge-graph completion of {recipe.dataset}, as the recipe '{recipe.name}' says."


def steps(recipe: Recipe) -> list[str]:
    """Names of the steps that the recipe runs, in order, as they are shown; ``task_name`` of them are the tasks'."""
    extracts = [step_name(modality) for modality in recipe.extract.modalities()]
    searching = [SEARCH_WORKER] * recipe.search.is_spread + ["search"] if recipe.search.trials else []
    proposing = ["propose"] if recipe.propose.enabled else []
    return ["ingest", *extracts, *searching, "train", "evaluate", "register", *proposing, "package"]
