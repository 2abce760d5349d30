"""How well are the probabilities of proposals calibrated on `countries`?  `python tests/benchmarks/chances.py [SEEDS]`

Each seed trains the recipe, and hides the held-out facts from the filter; probabilities of a fifth of the candidates
come from the other four. Prints, mean ± standard deviation over the seeds: the expected calibration error (ten groups),
what it would be by chance if every probability were exactly right, the logarithmic loss and the Brier score.
"""

import statistics
import sys
from pathlib import Path

import numpy as np
import torch
from countries import RECIPE, settings
from safetensors.torch import load_file, save_file
from torch import Tensor

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.extract.extract import extract
from mmkgc.components.ingest.ingest import ingest
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.evaluation.calibration import error_by_chance, expected_error
from mmkgc.components.kge.graph import HEAD, TAIL, KnownTriples, no_triples
from mmkgc.components.propose.chances import Candidates, left_out
from mmkgc.components.propose.propose import _ask
from mmkgc.components.propose.questions import Questions
from mmkgc.components.propose.scan import HIDDEN, Scan
from mmkgc.components.runtime import digests
from mmkgc.components.runtime.settings import Settings
from mmkgc.components.train.trainer import Trainer
from mmkgc.feature_store.opening import open_storage
from mmkgc.feature_store.reader import load_features


def candidates(seed: int) -> dict[str, Tensor]:
    """Candidates of a training with this seed, which of them are facts, and the degrees of the entities; kept."""
    key = digests.of_json([RECIPE.train.model_dump(mode="json"), digests.of_code()])[:12]
    path = Settings.from_env().home / "benchmarks" / f"chances-{key}-{seed}.safetensors"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(_found(seed, path.with_suffix("")), path)
    return load_file(path)


def _found(seed: int, scratch: Path) -> dict[str, Tensor]:
    storage = open_storage()
    uri = ingest(RECIPE.dataset, RECIPE.ingest, storage).uri
    graph, config = MMKG.load(storage.fetch(uri)).graph, settings({}, seed)
    features = {
        m: load_features(extract(uri, m, RECIPE.extract, storage).uri, graph.entities.keys, storage, 0.0, seed)
        for m in RECIPE.extract.modalities()
    }
    bundle = Bundle.of(Trainer(graph, features, config).fit(), graph)
    questions = Questions(bundle.train, bundle.types, len(bundle.entities), len(bundle.relations), RECIPE.propose)
    scan = Scan(bundle, questions, no_triples())
    lists = _ask(scan, bundle, RECIPE.propose, scratch)
    found = Candidates.of({relation: lists[HIDDEN] for relation, (_, lists) in lists.items()})
    hidden = KnownTriples(scan.held_out, len(bundle.entities), len(bundle.relations))
    return {
        "triples": found.triples,
        "scores": found.scores,
        "margins": found.margins,
        "right": hidden.contains(found.triples),
        "degrees": torch.bincount(bundle.train[:, [HEAD, TAIL]].flatten(), minlength=len(bundle.entities)),
        "relations": torch.tensor(len(bundle.relations)),
    }


def measured(found: dict[str, Tensor]) -> dict[str, float]:
    """Errors of the probabilities of candidates that were left out of the fit."""
    drawn = Candidates(found["triples"], found["scores"], found["margins"])
    p = left_out(drawn, found["right"], found["degrees"], int(found["relations"])).numpy()
    right = found["right"].numpy()
    inside = p.clip(1e-9, 1 - 1e-9)
    return {
        "error": expected_error(p, right),
        "by chance": error_by_chance(p),
        "log loss": float(-np.where(right, np.log(inside), np.log(1 - inside)).mean()),
        "Brier": float(((p - right) ** 2).mean()),
        "candidates": float(len(p)),
    }


def main() -> None:
    """Measure each seed."""
    seeds = range(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
    rows = [measured(candidates(seed)) for seed in seeds]
    for name in rows[0]:
        values = [row[name] for row in rows]
        print(f"{name:<12}{statistics.mean(values):9.4f} ± {statistics.stdev(values) if len(values) > 1 else 0:.4f}")


if __name__ == "__main__":
    main()
