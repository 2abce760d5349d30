"""The ``propose`` step: score the plausible queries of the whole graph and keep the best answers as proposals."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import torch
from torch import Tensor

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.graph import no_triples
from mmkgc.components.propose import scan
from mmkgc.components.propose.chances import Candidates, Chances
from mmkgc.components.propose.config import ProposeConfig
from mmkgc.components.propose.decided import NOTHING_DECIDED, Decided
from mmkgc.components.propose.estimate import estimate
from mmkgc.components.propose.hidden import hide_and_seek
from mmkgc.components.propose.questions import Pairs, Questions
from mmkgc.components.propose.scan import PROPOSALS, Lists, Scan
from mmkgc.components.propose.table import rows, table
from mmkgc.components.runtime import digests
from mmkgc.components.runtime.errors import UserError, did_you_mean
from mmkgc.components.runtime.files import locked, read_json, write_json
from mmkgc.components.runtime.progress import track
from mmkgc.components.runtime.settings import Settings
from mmkgc.components.runtime.tracking import step_run
from mmkgc.feature_store.storage import Storage, Stored
from mmkgc.serving.api.protocol import ModelName
from mmkgc.serving.review.decisions import Triple
from mmkgc.serving.review.proposals import FILE, KIND, SUMMARY

__all__ = ["ProposeConfig", "complete_graph", "propose"]

QUESTIONS_A_PART = 4096
PATIENCE_SECONDS = 10.0  # waits for a process that is ending


def propose(
    bundle_uri: str, registration_uri: str, config: ProposeConfig, storage: Storage, scratch: Path | None = None
) -> Stored:
    """Propose missing triples with the model that a run registered; metrics are logged to MLflow."""
    registration = read_json(storage.fetch(registration_uri) / "registration.json")
    model = ModelName(name=registration["model"], version=registration["version"])
    with step_run("propose", config.model_dump()) as run:
        decided = Decided.of_model(model.name)
        stored = complete_graph(storage.fetch(bundle_uri), model, config, storage, decided, scratch)
        summary = read_json(storage.fetch(stored.uri) / SUMMARY)
        run.log_metrics({"proposals": summary["proposals"], "questions": summary["questions"]})
        if hidden := summary["hide_and_seek"]:
            run.log_metrics({f"hidden/{name}": hidden[name] for name in ("precision", "popularity_precision")})
        if found := summary["reliability"]:
            run.log_metrics({"hidden/expected_error": found["expected_error"]})
        run.log_artifact(storage.fetch(stored.uri) / SUMMARY)
    return stored


def complete_graph(
    folder: Path,
    model: ModelName,
    config: ProposeConfig,
    storage: Storage,
    decided: Decided = NOTHING_DECIDED,
    scratch: Path | None = None,
) -> Stored:
    """Publish the proposals of a bundle: ``proposals.parquet``, best first, and ``summary.json``.

    Known triples of any split and those that reviewers rejected are not proposed; all decisions correct the
    probabilities. Finished parts stay in the scratch folder until the end, so that an interrupted run resumes. Raises
    ``UserError`` for an unknown relation and ``NotFinite`` for NaN or infinite scores.
    """
    bundle, digest = Bundle.load(folder), digests.of_folder(folder)
    key = digests.of_json([digest, config.model_dump(), decided.as_json(), digests.of_code()])[:16]
    parts = (scratch or Settings.from_env().scratch) / "propose" / key
    questions = Questions(bundle.train, bundle.types, len(bundle.entities), len(bundle.relations), config)
    reviewed = {True: _ids(decided.accepted, bundle), False: _ids(decided.rejected, bundle)}
    asker = Scan(bundle, questions, reviewed[False])  # what was accepted stays on the page until the graph holds it
    made_by = {"model": model.name, "version": model.version, "bundle": digest}
    busy = locked(parts.with_name(f"{parts.name}.lock"), "proposing with this very model", PATIENCE_SECONDS)
    with busy, TemporaryDirectory() as temporary:
        found = _ask(asker, bundle, config, parts)
        chances, checked = estimate(asker, bundle, found, reviewed, config.missing)
        found, left_out = _probable(found, chances, config.at_least)
        lists = {relation: lists for relation, (_, lists) in found.items()}
        out = Path(temporary)
        pq.write_table(table(rows(bundle, lists, chances, config.support, made_by)), out / FILE)
        about = {"missing": config.missing, "at_least": config.at_least, "left_out": left_out, **decided.counts}
        write_json(out / SUMMARY, _summary(asker, bundle, found, made_by) | about | {"reliability": checked})
        stored = storage.publish(out, KIND)
        shutil.rmtree(parts)
    return stored


def _probable(
    found: dict[int, tuple[Pairs, Lists]], chances: Chances | None, at_least: float
) -> tuple[dict[int, tuple[Pairs, Lists]], int]:
    """The lists without proposals of a lower probability, and how many these were."""
    if chances is None or not at_least:
        return found, 0
    kept: dict[int, tuple[Pairs, Lists]] = {}
    left_out = 0
    for relation, (pairs, lists) in found.items():
        likely = chances(Candidates.of({relation: lists[PROPOSALS]})) >= at_least
        left_out += int((~likely).sum())
        kept[relation] = pairs, {**lists, PROPOSALS: lists[PROPOSALS].where(likely)}
    return kept, left_out


class _Part(NamedTuple):
    """Some queries of a relation, and the file that stores their best answers."""

    pairs: Pairs
    asked: Tensor
    budget: int
    path: Path


def _ask(asker: Scan, bundle: Bundle, config: ProposeConfig, folder: Path) -> dict[int, tuple[Pairs, Lists]]:
    """The best answers of every relation; parts that are already in ``folder`` are not computed again."""
    parts = {relation: _parts(asker.questions, relation, config, folder) for relation in _relations(bundle, config)}
    todo = [part for of_relation in parts.values() for part in of_relation]
    missing = [part for part in todo if not scan.is_whole(part.path)]
    for part in track(missing, "propose", len(todo), "part", len(todo) - len(missing)):
        scan.save(part.path, asker.block(part.pairs, part.asked, part.budget, config.batch_size))
    return {relation: (of_relation[0].pairs, _joined(of_relation)) for relation, of_relation in parts.items()}


def _parts(questions: Questions, relation: int, config: ProposeConfig, folder: Path) -> list[_Part]:
    pairs = questions.pairs(relation)
    budget = config.budget(int((questions.train[:, 1] == relation).sum()))
    chunks = pairs.asked.split(QUESTIONS_A_PART)
    return [
        _Part(pairs, asked, budget, folder / f"{relation}-{number}.safetensors") for number, asked in enumerate(chunks)
    ]


def _joined(parts: Sequence[_Part]) -> Lists:
    first, *rest = (scan.load(part.path, part.budget) for part in parts)
    for lists in rest:
        first = {name: best.joined(lists[name]) for name, best in first.items()}
    return first


def _relations(bundle: Bundle, config: ProposeConfig) -> list[int]:
    """The relations to complete; raises ``UserError`` for an unknown key."""
    ids = bundle.relations.ids
    for key in config.relations or ():
        if key not in ids:
            raise UserError(f"propose.relations, '{key}'", "the graph has no such relation", did_you_mean(key, ids))
    return list(range(len(ids))) if config.relations is None else [ids[key] for key in config.relations]


def _ids(triples: Sequence[Triple], bundle: Bundle) -> Tensor:
    """Ids ``[L, 3]`` of triples given by keys; triples with a key unknown to the bundle are left out."""
    vocabularies = bundle.entities.ids, bundle.relations.ids, bundle.entities.ids
    found = [[ids.get(key, -1) for ids, key in zip(vocabularies, triple, strict=True)] for triple in triples]
    known = [triple for triple in found if min(triple) >= 0]
    return torch.tensor(known) if known else no_triples()


def _summary(
    asker: Scan, bundle: Bundle, found: Mapping[int, tuple[Pairs, Lists]], made_by: dict[str, str]
) -> dict[str, Any]:
    return {
        **made_by,
        "proposals": sum(len(lists[PROPOSALS]) for _, lists in found.values()),
        "questions": sum(len(pairs.asked) for pairs, _ in found.values()),
        "pairs": sum(len(pairs) for pairs, _ in found.values()),
        "relations": {bundle.relations.keys[r]: len(lists[PROPOSALS]) for r, (_, lists) in found.items()},
        "hide_and_seek": hide_and_seek(bundle, asker.held_out, found),
    }
