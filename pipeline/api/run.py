"""Local runs of a recipe and their results."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from mmkgc.components.kge.evaluation.metrics import SIDES
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.extras import required
from mmkgc.components.runtime.files import read_json
from mmkgc.pipeline import composition, config
from mmkgc.pipeline.config import Recipe

if TYPE_CHECKING:
    from mmkgc.pipeline.api.engine import Engine


@dataclass(frozen=True, repr=False)
class RunResult:
    """Result of a pipeline run.

    ``recipe``: the recipe that was run. ``metrics``: one row per split, scorer (model or baseline) and predicted side;
    columns ``mr``, ``mrr``, ``hits_at_1`` … as fractions of 1, ``amr``, ``amri``. The row of the development split, on
    which the epoch was selected, has only the MRR. ``model``, ``version``: name and version in the registry;
    ``promoted``: whether the registry's alias points to it, ``reason``: why or why not.
    ``graph``, ``bundle``, ``evaluation``, ``archive``: folders with the checked graph, the saved model, metrics with
    figures and ``report.html``, and the archive for TorchServe.
    """

    recipe: Recipe
    metrics: pd.DataFrame
    model: str
    version: str
    promoted: bool
    reason: str
    graph: Path
    bundle: Path
    evaluation: Path
    archive: Path

    def load(self) -> "Engine":
        """Load the model of this run, whether or not it was promoted."""
        from mmkgc.pipeline.api.engine import Engine

        return Engine.load(self.bundle, self.model, self.version)

    def __repr__(self) -> str:
        mrr = self.metrics.loc[("test", "model", "both"), "mrr"]
        promoted = "promoted" if self.promoted else "not promoted"
        return f"<RunResult {self.model} version {self.version}, {promoted}: test MRR {mrr:.4f}>"


def run(recipe: str | Path | Recipe, settings: Mapping[str, Any] | None = None, *, cache: bool = True) -> RunResult:
    """Run every step of a recipe on this machine and return its result, as ``mmkgc run --no-serve`` does.

    ``recipe``: a bundled name (``recipes``), a YAML file, a dataset folder, or a ``Recipe``. ``settings``: changed
    values of a named recipe by dotted key, ``{"train.epochs": 5}``. Without ``cache``, steps with unchanged inputs run
    again.
    Progress goes to stderr; everything is written under ``$MMKGC_HOME`` (default: ``.mmkgc``).
    Raises UserError for an invalid name, key or value, and for invalid input data.
    """
    with required():
        from mmkgc.pipeline.runners import local

        chosen = _chosen(recipe, settings or {})
        return _result(chosen, local.run(chosen, cache=cache).outputs)


def recipes() -> dict[str, str]:
    """Every bundled recipe by name, with the first line of its description."""
    return {name: composition.summary(name) for name in composition.names()}


def metrics_frame(metrics: Mapping[str, Any], dev_mrr: float | None = None) -> pd.DataFrame:
    """The content of ``metrics.json`` as the table of ``RunResult.metrics``."""
    scorers = {"model": metrics["metrics"][metrics["protocol"]["ties"]]}
    scorers[metrics["baseline"]["name"]] = metrics["baseline"]
    rows = {
        ("test", scorer, side): by_side[side]
        for scorer, by_side in scorers.items()
        for side in SIDES
        if side in by_side
    }
    if dev_mrr is not None:
        rows["development", "model", "both"] = {"mrr": dev_mrr}
    index = pd.MultiIndex.from_tuples(list(rows), names=["split", "scorer", "side"])
    return pd.DataFrame(list(rows.values()), index=index)


def _chosen(recipe: str | Path | Recipe, settings: Mapping[str, Any]) -> Recipe:
    if not isinstance(recipe, Recipe):
        return config.load(str(recipe), [f"{key}={json.dumps(value)}" for key, value in settings.items()])
    if settings:
        raise UserError(
            "run", "settings go with the name of a recipe, and this is a Recipe", "change its values instead"
        )
    return recipe


def _result(recipe: Recipe, outputs: Mapping[str, str]) -> RunResult:
    from mmkgc.components.runtime import model_registry as registry
    from mmkgc.feature_store.opening import open_storage

    storage = open_storage()
    folders = {name: storage.fetch(uri) for name, uri in outputs.items()}
    registered = read_json(folders["registration"] / "registration.json")
    version = registry.version(registered["model"], registered["version"])
    bundle = registry.bundle_of(version)
    provenance = read_json(bundle / "bundle.json")["provenance"]
    return RunResult(
        recipe=recipe,
        metrics=metrics_frame(read_json(folders["evaluation"] / "metrics.json"), provenance.get("dev_mrr")),
        model=version.name,
        version=version.version,
        promoted=registered["promoted"],
        reason=registered["reason"],
        graph=folders["graph"],
        bundle=bundle,
        evaluation=folders["evaluation"],
        archive=folders["archive"],
    )
