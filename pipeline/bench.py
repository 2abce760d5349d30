"""Benchmark rows: one recipe with one seed, trained, selected on the development split, and ranked once on test.

A row is one line of JSON with everything that a table of results must state: metrics, protocol, digests of data,
recipe and code, hardware, seconds and epochs. Rows that are in the file already, of the same recipe, data and code, are
not measured again; a killed training continues after its last checkpoint.
"""

import json
import os
import platform
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.evaluation.ranks import Scorer
from mmkgc.components.kge.rules import Rules, RuleScores
from mmkgc.components.runtime import digests
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.files import locked
from mmkgc.components.runtime.nouns import counted
from mmkgc.components.train.train import digest_in
from mmkgc.feature_store.opening import open_storage
from mmkgc.feature_store.storage import Storage
from mmkgc.pipeline.cells import (
    MEASURED,
    Inputs,
    Row,
    development_metrics,
    in_processes,
    prepare,
    test_metrics,
    threads_of,
    train_cell,
)
from mmkgc.pipeline.config import Recipe
from mmkgc.pipeline.mixture import CHOSEN, Mixture, Weights

PROTOCOL = "filtered, both directions, ties at their mean rank; selected on the development split"
Kind = Literal["ensemble", "rules"]  # models ranked together, without rules and with them
SHOWN = ("mrr", "hits_at_1", "hits_at_3", "hits_at_10")


def bench(recipes: Sequence[Recipe], file: Path, workers: int = 1, test: bool = True) -> Iterator[Row]:
    """Rows of the recipes (one dataset, several seeds), in the order in which they are measured; found ones first.

    With ``test`` false, test is not ranked: for comparisons while a recipe is still being chosen.
    """
    inputs = prepare(recipes[0], open_storage())
    found = {row["key"]: row for row in read_rows(file)}
    keys = [key_of(recipe, inputs, test) for recipe in recipes]
    yield from (found[key] for key in keys if key in found)
    left = [recipe for recipe, key in zip(recipes, keys, strict=True) if key not in found]
    workers = min(workers, len(left))
    measured = partial(measure, inputs=inputs, test=test, threads=threads_of(workers))
    for row in in_processes(measured, left, workers):
        append_row(file, row)
        yield row


def ensembles(
    recipes: Sequence[Recipe], rows: Sequence[Row], file: Path, kinds: Sequence[Kind], given: Weights = CHOSEN
) -> Iterator[Row]:
    """A row for each of ``kinds``, of all these models together, each measured before as one of ``rows``.

    Those that are in the file are not ranked again. The recipes are of one graph (``must_be_alike``). ``rules``:
    together with rules mined from the triples that the models were trained on. Models that were refitted on the
    development triples need ``given`` weights (``must_be_weighed``), and have no development metrics.
    """
    keys = {kind: digests.of_json([sorted(row["key"] for row in rows), kind, given])[:16] for kind in kinds}
    found = {row["key"]: row for row in read_rows(file)}
    yield from (found[key] for key in keys.values() if key in found)
    left = {kind: key for kind, key in keys.items() if key not in found}
    if not left:
        return
    recipe, storage = recipes[0], open_storage()
    inputs = prepare(recipe, storage)
    bundles = [Bundle.load(storage.fetch(storage.uri(f"bundles/{row['bundle']}"))) for row in rows]
    mixture = Mixture(rows, bundles, MMKG.load(storage.fetch(inputs.graph)).graph)
    shares = given.shares or mixture.best_shares()
    for kind, key in left.items():
        row = _of_all(rows) | {"key": key, "hardware": hardware(), "dev": {"mrr": None}}
        row["digests"] = rows[0]["digests"] | {"ranking code": digests.of_code(*MEASURED)}
        if shares:
            row["shares"] = {"of": mixture.of_recipes(shares), "chosen": _by(given.shares)}
        scorer = mixture.ensemble(shares)
        if kind == "rules":
            guide = _guide(bundles[0])
            weight = given.rules or mixture.best_weight(guide, shares)
            row["rules"] = {"weight": weight, "chosen": _by(given.rules)}
            scorer = mixture.ensemble(shares, guide, weight)
        if not recipe.train.refit:
            row["dev"] = _rounded(development_metrics(scorer, inputs, recipe, storage)["realistic"]["both"])
        append_row(file, row := row | (_ranked_test(scorer, inputs, recipe, storage) if "test" in rows[0] else {}))
        yield row


def _by(given: Any) -> str:
    return "given" if given else "development split"


def _of_all(rows: Sequence[Row]) -> Row:
    """What a row of models together takes from their own: lists where there are several, and sums."""
    row = rows[0] | {"seconds": round(sum(row["seconds"] for row in rows), 1)}
    row["parameters"] = sum(row["parameters"] for row in rows)
    if len(rows) > 1:
        row |= {name: [row[name] for row in rows] for name in ("seed", "bundle")}
    if len(recipes := {row["bench"]: row for row in rows}) > 1:
        row["bench"] = " + ".join(recipes)
        row |= {name: [row[name] for row in recipes.values()] for name in ("recipe", "epochs")}
    return row


def must_be_alike(recipes: Sequence[Recipe]) -> None:
    """Raise UserError unless the recipes' models can be ranked together: one graph, and all refitted or none."""
    for key, of in (("dataset", _graph_of), ("train.refit", lambda recipe: bool(recipe.train.refit))):
        if any(of(recipe) != of(recipes[0]) for recipe in recipes):
            names = ", ".join(dict.fromkeys(recipe.name for recipe in recipes))
            raise UserError(
                names, f"{key} differs, so their models cannot be ranked together", f"set one {key} for all"
            )


def must_be_weighed(recipes: Sequence[Recipe], rules: bool, given: Weights) -> None:
    """Raise UserError if a weight is missing that the development split cannot choose, or if there are others."""
    further = len({recipe.name for recipe in recipes}) - 1
    if given.shares is not None and len(given.shares) != further:
        raise UserError(
            "--shares", f"{len(given.shares)} given for {counted(further, 'further recipe')}", "give one for each"
        )
    lacking = [("--shares", given.shares, further), ("--rule-weight", given.rules, rules)]
    for option, value, needed in lacking:
        if needed and value is None and recipes[0].train.refit:
            raise UserError(
                option,
                "models that were trained on the development triples, too, leave none to choose it",
                f"run the command without train.refit, then give {option} what it chose",
            )


def _graph_of(recipe: Recipe) -> tuple[str, str]:
    """What the graph and its splits are made from."""
    return recipe.dataset, recipe.ingest.model_dump_json()


def _guide(bundle: Bundle) -> RuleScores:
    """Rules mined from the triples that the model was trained on."""
    rules = Rules(bundle.train, len(bundle.entities), len(bundle.relations))
    return RuleScores(rules, rules.mine())


def key_of(recipe: Recipe, inputs: Inputs, test: bool) -> str:
    """Digest of everything that a row depends on."""
    return digests.of_json([_settings(recipe), _made_from(inputs), test, digests.of_code(*MEASURED)])[:16]


def measure(recipe: Recipe, inputs: Inputs, test: bool, threads: int | None = None) -> Row:
    """Train and rank one recipe; returns its row."""
    import torch

    torch.set_num_threads(threads or torch.get_num_threads())
    storage = open_storage()
    trained = train_cell(recipe, inputs, storage)
    bundle, provenance = trained.bundle, trained.bundle.provenance
    row = {
        "key": key_of(recipe, inputs, test),
        "bench": recipe.name,
        "dataset": Path(recipe.dataset).name,
        "seed": recipe.train.seed,
        "protocol": PROTOCOL,
        "refit": recipe.train.refit,
        "dev": {"mrr": provenance.get("dev_mrr")},
        "epochs": {
            "best": provenance.get("best_epoch", provenance["epochs"]),
            "run": provenance["epochs"],
            "most": recipe.train.epochs,
        },
        "parameters": sum(tensor.numel() for tensor in bundle.model.parameters()),
        "seconds": round(trained.seconds, 1),
        "hardware": hardware(),
        "digests": {
            **_made_from(inputs),
            "recipe": digests.of_json(_settings(recipe))[:16],
            "code": digests.of_code(*MEASURED),
        },
        "bundle": digest_in(trained.uri),
        "recipe": _settings(recipe),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    if not recipe.train.refit:
        row["dev"] = _rounded(development_metrics(bundle.model, inputs, recipe, storage)["realistic"]["both"])
    return row | (_ranked_test(bundle.model, inputs, recipe, storage) if test else {})


def _ranked_test(model: Scorer, inputs: Inputs, recipe: Recipe, storage: Storage) -> Row:
    """The part of a row that needs the test split."""
    metrics = test_metrics(model, inputs, recipe, storage)
    sides = {side: _rounded(values) for side, values in metrics["realistic"].items()}
    return {"test": sides, "openke": _rounded(metrics["optimistic"]["both"])}


def of_each(value: Any) -> list[Any]:
    """``recipe`` or ``epochs`` of a row by recipe: a list where models of several recipes were ranked together."""
    return value if isinstance(value, list) else [value]


def read_rows(file: Path) -> list[Row]:
    """The rows of a file; none if there is no file."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return [json.loads(line) for line in lines]


def append_row(file: Path, row: Row) -> None:
    """Append one line; several commands may write to one file."""
    with locked(file.with_name(f".{file.name}.lock"), f"writing to {file}"), file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n")


def hardware() -> dict[str, Any]:
    """Processor and its instructions, cores that this process may use, threads, and PyTorch's version."""
    import torch

    from mmkgc.components.train.precision import has_bfloat16

    gpu = {"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
    cores = {"cores": len(os.sched_getaffinity(0)), "threads": torch.get_num_threads()}
    load = {"load": round(os.getloadavg()[2], 1)}  # of the last 15 minutes: whether other programs ran beside
    native = {"bfloat16": has_bfloat16(torch.device("cpu"))}
    return {"processor": _processor(), **native, **cores, **gpu, **load, "torch": torch.__version__}


def _made_from(inputs: Inputs) -> dict[str, Any]:
    """Digests of the graph and of the features that the recipe extracts."""
    features = {modality: digest_in(uri) for modality, uri in inputs.features.items()}
    return {"graph": digest_in(inputs.graph), "features": features}


def _settings(recipe: Recipe) -> dict[str, Any]:
    """What a row depends on in a recipe; its dataset is stated by digests instead of a path."""
    return recipe.model_dump(mode="json", include={"ingest", "extract", "train"})


def _rounded(metrics: dict[str, float]) -> dict[str, float]:
    return {name: round(metrics[name], 6) for name in (*SHOWN, "mr")}


def _processor() -> str:
    """The processor's name as Linux gives it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
