"""Builds the Kubeflow pipeline of a recipe: steps connected by artifacts."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from kfp import dsl
from kfp.dsl import PipelineTask
from kfp.dsl.pipeline_context import Pipeline
from pydantic import BaseModel

from mmkgc.components.evaluate.component import evaluate
from mmkgc.components.extract.component import extract, extract_shard
from mmkgc.components.extract.config import ExtractConfig, ImportedConfig, shard_name, step_name
from mmkgc.components.ingest.component import ingest
from mmkgc.components.package.component import package
from mmkgc.components.propose.component import propose
from mmkgc.components.register.component import register
from mmkgc.components.search.component import search
from mmkgc.components.train.component import train
from mmkgc.pipeline.config import Recipe

SEARCH_WORKER = "search worker"


class Outputs(NamedTuple):
    """Output artifacts of a run."""

    graph: dsl.Dataset
    evaluation: dsl.Artifact
    registration: dsl.Artifact
    archive: dsl.Model


def build(
    recipe: Recipe,
    prepare: Callable[[PipelineTask], None] | None = None,
    pipeline_config: dsl.PipelineConfig | None = None,
) -> Any:
    """The pipeline of a recipe.

    Its arguments add to the cache keys what the steps' inputs do not contain: ``data`` is the fingerprint of the
    dataset, ``code`` the digest of the code. ``prepare`` adds platform settings to every task, and ``pipeline_config``
    to the whole pipeline (``mmkgc.pipeline.runners.cluster``).

    The recipe's values are constants of the pipeline, so the compiled file describes a run completely. Steps whose
    output depends only on their inputs are cached. Search, evaluation, registration and proposals are not, because they
    write to MLflow; nor is the import of vectors, which reads a file that is not an input, nor a training that starts
    from a model, since an alias may point to another one tomorrow.
    """
    config = {name: part.model_dump_json() for name, part in _parts(recipe).items()}
    keeps = {"workspace": dsl.WORKSPACE_PATH_PLACEHOLDER} if pipeline_config and pipeline_config.workspace else {}

    @dsl.pipeline(name=pipeline_name(recipe.name), description=_description(recipe), pipeline_config=pipeline_config)
    def pipeline(data: str, code: str) -> Outputs:
        ingested = ingest(dataset=recipe.dataset, config=config["ingest"], data=data, code=code)
        graph = ingested.outputs["graph"]
        features = {m: _features(recipe.extract, m, graph, code) for m in recipe.extract.modalities()}
        best = _best(recipe, {"graph": graph, "train": config["train"], **features})
        trained = train(graph=graph, config=config["train"], code=code, **features, **best, **keeps)
        bundle = trained.set_caching_options(recipe.train.start is None).outputs["bundle"]
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
    """A recipe's name in the form that Kubeflow accepts: a to z, 0 to 9, and single hyphens between them."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _features(config: ExtractConfig, modality: str, graph: Any, code: str) -> Any:
    """Features of a modality as an input of later steps.

    Shards are tasks that encode into the store. The task after them encodes what is still missing (usually nothing) and
    commits; its key in the cache is the same without them.
    """
    own, step, shards = config.only(modality), step_name(modality), []
    inputs = {"graph": graph, "modality": modality, "code": code}
    if config.is_divided(modality):
        given = inputs | {"config": own.model_dump_json()}
        shards = [_side_by_side(extract_shard, shard_name(modality), config.shards, "shard", given)]
    task = named(extract, step)(config=own.undivided().model_dump_json(), **inputs).after(*shards)
    task.set_display_name(step).set_caching_options(not isinstance(config.encoder(modality), ImportedConfig))
    return task.outputs["features"]


def _best(recipe: Recipe, inputs: dict[str, Any]) -> dict[str, Any]:
    """Output of the search as an input of ``train``; empty without a search.

    Distributed workers are tasks that share one study. The task after them runs the trials that a failed worker left
    (usually none) and reads the best trial.
    """
    if not recipe.search.trials:
        return {}
    alone = recipe.search.model_copy(update={"workers": 1}) if recipe.search.is_spread else recipe.search
    inputs |= {"config": alone.model_dump_json()}
    workers = []
    if recipe.search.is_spread:
        worker = _side_by_side(search, SEARCH_WORKER, recipe.search.workers, "worker", inputs)
        workers = [worker.set_caching_options(False)]
    return {"best": search(**inputs).after(*workers).set_caching_options(False).outputs["best"]}


def _side_by_side(component: Any, step: str, count: int, number: str, inputs: dict[str, Any]) -> PipelineTask:
    """``count`` tasks of a step at once, each with its number, from 1, as the input named ``number``."""
    with dsl.ParallelFor(list(range(1, count + 1)), name=f"{step}s", parallelism=count) as own:
        return named(component, step)(**inputs, **{number: own}).set_display_name(step)


def named(component: Any, step: str) -> Any:
    """The component renamed to a step, since kfp names a task after its component."""
    spec = replace(component.component_spec, name=task_name(step))
    return type(component)(spec, component.python_func)


def task_name(step: str) -> str:
    """A step's name in Kubeflow, without blanks."""
    return step.replace(" ", "-")


def _parts(recipe: Recipe) -> dict[str, BaseModel]:
    """The steps' configurations, passed as JSON text because kfp's dictionaries support neither null nor integers."""
    parts = {name: part for name, part in recipe if isinstance(part, BaseModel)}
    own = {"model": recipe.register_.model or recipe.name}  # not the experiment's name, which may differ on a cluster
    return parts | {"register_": recipe.register_.model_copy(update=own)}


def _description(recipe: Recipe) -> str:
    return f"Multi-modal knowledge-graph completion of {recipe.dataset}, as the recipe '{recipe.name}' says."


def steps(recipe: Recipe) -> list[str]:
    """Display names of the recipe's steps, in order; ``task_name`` converts them to task names."""
    extracts = []
    for modality in recipe.extract.modalities():
        extracts += [shard_name(modality)] * recipe.extract.is_divided(modality) + [step_name(modality)]
    searching = [SEARCH_WORKER] * recipe.search.is_spread + ["search"] if recipe.search.trials else []
    proposing = ["propose"] if recipe.propose.enabled else []
    return ["ingest", *extracts, *searching, "train", "evaluate", "register", *proposing, "package"]
