"""The Kubeflow pipeline: steps wired by artifacts, composed from a recipe."""

from collections.abc import Callable
from typing import Any, NamedTuple

from kfp import dsl
from kfp.dsl import PipelineTask
from kfp.dsl.pipeline_context import Pipeline
from pydantic import BaseModel

from mmkgc.components.encoders.base import Modality
from mmkgc.components.evaluate.component import evaluate
from mmkgc.components.extract.component import extract
from mmkgc.components.extract.config import ExtractConfig, ImportedConfig
from mmkgc.components.ingest.component import ingest
from mmkgc.components.package.component import package
from mmkgc.components.propose.component import propose
from mmkgc.components.register.component import register
from mmkgc.components.search.component import search
from mmkgc.components.train.component import train
from mmkgc.pipeline.config import Recipe


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

    @dsl.pipeline(
        name=recipe.name.lower().replace("_", "-").replace(".", "-"),
        description=_description(recipe),
        pipeline_config=pipeline_config,
    )
    def pipeline(data: str, code: str) -> Outputs:
        ingested = ingest(dataset=recipe.dataset, config=config["ingest"], data=data, code=code)
        graph = ingested.outputs["graph"]
        features: dict[str, Any] = {
            modality: extract(graph=graph, modality=modality, config=_only(recipe.extract, modality), code=code)
            .set_display_name(f"extract {modality}")
            .set_caching_options(not isinstance(recipe.extract.encoder(modality), ImportedConfig))
            .outputs["features"]
            for modality in modalities(recipe)
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
            workers = [search(worker=number, **inputs).set_caching_options(False).set_display_name("search worker")]
    return {"best": search(**inputs).after(*workers).set_caching_options(False).outputs["best"]}


def modalities(recipe: Recipe) -> list[Modality]:
    """The modalities that the recipe names an encoder for."""
    return [modality for modality in ("visual", "textual") if getattr(recipe.extract, modality)]


def _only(config: ExtractConfig, modality: Modality) -> str:
    """What concerns one modality, so that a change of one encoder does not touch the other's cache key."""
    other: Modality = "textual" if modality == "visual" else "visual"
    return config.model_copy(update={other: None}).model_dump_json()


def _parts(recipe: Recipe) -> dict[str, BaseModel]:
    """The steps' configurations. They travel as JSON text: kfp's own dictionaries know neither null nor integers."""
    parts = {name: part for name, part in recipe if isinstance(part, BaseModel)}
    named = {"model": recipe.register_.model or recipe.name}  # not the experiment's, which on a cluster may be another
    return parts | {"register_": recipe.register_.model_copy(update=named)}


def _description(recipe: Recipe) -> str:
    return f"Multi-modal knowledge-graph completion of {recipe.dataset}, as the recipe '{recipe.name}' says."


def steps(recipe: Recipe) -> list[str]:
    """Names of the steps that the recipe runs, in order, as Kubeflow names the tasks."""
    extracts = ["extract", "extract-2"][: len(modalities(recipe))]
    searching = ["search", "search-2"][: recipe.search.is_spread + 1] if recipe.search.trials else []
    proposing = ["propose"] if recipe.propose.enabled else []
    return ["ingest", *extracts, *searching, "train", "evaluate", "register", *proposing, "package"]
