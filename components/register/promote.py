"""Promotion and rollback: the only functions that move the alias."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.evaluate.slices import entity_masks
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.evaluation.baseline import RelationPopularity
from mmkgc.components.kge.graph import Graph
from mmkgc.components.register.config import GateConfig, RegisterConfig
from mmkgc.components.register.feedback import feedback
from mmkgc.components.register.gate import Costs, Decision, decide, query_latency_ms
from mmkgc.components.register.questions import Contender
from mmkgc.components.runtime import model_registry as registry
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.model_registry import Version
from mmkgc.components.runtime.quoting import markdown as plain
from mmkgc.feature_store.storage import Storage

GATE = "Promotion gate"


def promote(model: str, number: str, config: RegisterConfig, storage: Storage) -> Decision:
    """Run the gate for version ``number`` of ``model`` and move the alias if it passes.

    If another promotion moved the alias meanwhile, the gate runs again against the new champion, so that each of two
    simultaneous promotions is compared with the version that it would replace.
    """
    version = registry.version(model, number)
    folder = registry.bundle_of(version)
    bundle = Bundle.load(folder)
    challenger = _contender(version, bundle)
    mmkg = MMKG.load(storage.fetch(version.tags["graph_uri"]))
    costs = Costs(query_latency_ms(bundle.model, bundle.train), _megabytes(folder))
    while True:
        current = registry.version_at(model, config.alias)
        if current and current.version == number:
            raise UserError(f"{model} version {number}", f"it is the {config.alias} already")
        champion, gate = _champion(current, mmkg.graph, config.gate)
        decision = decide(mmkg.graph, entity_masks(mmkg, bundle.model), challenger, champion, costs, gate)
        if current:
            decision = replace(decision, feedback=feedback(mmkg.graph, champion, challenger))
        tags = _tags(decision, current)
        if not decision.promoted:
            registry.tag(model, number, tags)
            registry.tell(model, number, GATE, f"refused. {plain(decision.reason)}")
            return decision
        expected = current.version if current else None
        if registry.move_alias(model, config.alias, number, expected, tags):
            registry.tell(model, number, GATE, f"passed. {plain(decision.reason)}")
            return decision


def rollback(model: str, alias: str = "champion") -> tuple[str, str]:
    """Give the alias back to the version that had it before; returns (current version, replaced version).

    The two versions swap places, so a rollback can be rolled back. Raises UserError if there is no previous version.
    """
    current, previous = registry.version_at(model, alias), registry.version_at(model, f"previous_{alias}")
    if current is None or previous is None:
        raise UserError(
            f"model '{model}'", f"no earlier {alias} to go back to", "promote a version with `mmkgc promote`"
        )
    tags = {"gate": "rolled back to", "gate_reason": f"rollback from version {current.version}"}
    if not registry.move_alias(model, alias, previous.version, current.version, tags):
        raise UserError(f"model '{model}'", f"the {alias} changed during the rollback", "look at it, then run again")
    return previous.version, current.version


def _champion(current: Version | None, graph: Graph, config: GateConfig) -> tuple[Contender, GateConfig]:
    """The current champion; without one, the relation-popularity baseline with no limit on slice losses."""
    if current is not None:
        return _contender(current, Bundle.load(registry.bundle_of(current))), config
    baseline = RelationPopularity(graph)
    contender = Contender("relation popularity", baseline, graph.entities, graph.relations, graph.train)
    return contender, config.model_copy(update={"max_slice_loss": math.inf})


def _contender(version: Version, bundle: Bundle) -> Contender:
    return Contender(
        label=f"version {version.version}",
        model=bundle.model,
        entities=bundle.entities,
        relations=bundle.relations,
        train=bundle.train,
    )


def _tags(decision: Decision, current: Version | None) -> dict[str, Any]:
    return {
        "gate": "promoted" if decision.promoted else "refused",
        "gate_reason": decision.reason,
        "gate_champion": current.version if current else decision.champion,
        "gate_mrr": f"{decision.mrr_challenger:.4f}",
        "gate_gain": f"{decision.gain:.4f}",
    }


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
