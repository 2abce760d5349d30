"""Evaluation of RotatE d = 200 on DB15K's test split beside PyKEEN's evaluator; prints one table.

    python tests/benchmarks/evaluation.py <folder of DB15K as TSV> [PyKEEN's triples]

Ours is what the evaluate step does with all test triples: scores, filter, ranks, metrics by side and slice, bootstrap,
and the baseline's metrics. PyKEEN ranks the first of the test triples only (default: 500); its time for all of them is
extrapolated from that. All have the same weights, of three epochs. PyKEEN's RotatE takes the norm of the whole vector,
ours the paper's sum of moduli: the row "same score" gives PyKEEN's evaluator a RotatE with that sum, and both must then
find the same metrics.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from mmkgc.components.kge.graph import Graph, KnownTriples
from mmkgc.components.kge.model import Model
from mmkgc.components.runtime.malloc import keep_freed_memory
from mmkgc.components.train.config import TrainConfig
from mmkgc.components.train.trainer import Trainer
from tests.benchmarks.regression import read

DIMENSION = 200
METRICS = {"mrr": "inverse_harmonic_mean_rank", "hits_at_1": "hits_at_1", "hits_at_10": "hits_at_10"}
TRAIN = TrainConfig(
    model={"dimension": DIMENSION, "interaction": "rotate", "fusion": "structure"},
    negatives={"name": "bernoulli", "count": 16},
    loss={"name": "self-adversarial", "margin": 12},
    optimizer={"lr": 0.01},
    epochs=3,
    keep="last",
)
Found = dict[str, float]


def ours(graph: Graph, weights: Path, count: int) -> Found:
    """The evaluate step's link prediction of all test triples; metrics of the first ``count`` to compare with."""
    from mmkgc.components.evaluate.config import EvaluateConfig
    from mmkgc.components.evaluate.link_prediction import link_prediction
    from mmkgc.components.kge.evaluation.metrics import QueryRanks, rank_metrics
    from mmkgc.components.kge.evaluation.ranks import rank

    keep_freed_memory()  # as the evaluate step does
    model = rotate(graph, weights)
    known = KnownTriples(graph.all_triples, len(graph.entities), len(graph.relations))
    first = QueryRanks.of(rank(model, graph.test[:count], known))  # warm-up
    begun = time.monotonic()
    link_prediction(model, graph, {}, None, EvaluateConfig())
    return _found(graph.test, begun) | rank_metrics(first.realistic, first.candidates)


def peer(graph: Graph, weights: Path, count: int) -> Found:
    """PyKEEN as it comes: its evaluator chooses its own batch size."""
    return _peer(graph, weights, count, same_score=False)


def same_score(graph: Graph, weights: Path, count: int) -> Found:
    """PyKEEN's evaluator and model, with the paper's sum of moduli."""
    return _peer(graph, weights, count, same_score=True)


SIDES = {"mmkgc, evaluate step": ours, "PyKEEN": peer, "PyKEEN, same score": same_score}


def _peer(graph: Graph, weights: Path, count: int, same_score: bool) -> Found:
    from pykeen.evaluation import RankBasedEvaluator

    model, evaluator = _pykeen_rotate(graph, weights, same_score), RankBasedEvaluator()
    further = {"additional_filter_triples": [graph.all_triples], "use_tqdm": False}
    evaluator.evaluate(model, graph.test[:32], **further)  # warm-up
    triples = graph.test[:count]
    begun = time.monotonic()
    results = evaluator.evaluate(model, triples, **further)
    metrics = {mine: results.get_metric(f"both.realistic.{theirs}") for mine, theirs in METRICS.items()}
    return _found(triples, begun) | metrics


def rotate(graph: Graph, weights: Path) -> Model:
    """The model that ``main`` has trained."""
    seen = torch.ones(len(graph.entities), dtype=torch.bool)
    model = Model(TRAIN.model, len(graph.relations), {}, seen)
    model.load_state_dict(torch.load(weights, weights_only=True))
    return model


def _pykeen_rotate(graph: Graph, weights: Path, same_score: bool) -> Any:
    """PyKEEN's RotatE with the weights of ``rotate``."""
    from pykeen.models import RotatE
    from pykeen.triples import CoreTriplesFactory

    sizes = {"num_entities": len(graph.entities), "num_relations": len(graph.relations)}
    model = RotatE(triples_factory=CoreTriplesFactory(graph.train, **sizes), embedding_dim=DIMENSION, random_seed=0)
    source, everyone = rotate(graph, weights), torch.arange(len(graph.entities))
    phases = source.relations["relation"].detach() * (torch.pi / source.interaction.init)
    entities = source.entities.encode(everyone).vectors["structure"].detach()
    for representation, table in (
        (model.entity_representations[0], torch.complex(*entities.chunk(2, dim=1))),
        (model.relation_representations[0], torch.polar(torch.ones_like(phases), phases)),
    ):
        weight = representation._embeddings.weight
        weight.data.copy_(torch.view_as_real(table).reshape(weight.shape))
    if same_score:
        model.interaction.forward = _sum_of_moduli
    return model


def _sum_of_moduli(h: Tensor, r: Tensor, t: Tensor) -> Tensor:
    """RotatE's −Σᵢ|hᵢ rᵢ − tᵢ|; the smaller side is rotated, as PyKEEN does it."""
    difference = h * r - t if h.numel() <= t.numel() else h - t * r.conj()
    return -torch.linalg.vector_norm(difference, ord=1, dim=-1)


def _found(triples: Tensor, begun: float) -> Found:
    seconds, peak = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"queries": 2 * len(triples), "seconds": seconds, "peak": peak}


def main() -> None:
    if sys.argv[1] == "--of":
        _, _, side, folder, weights, count = sys.argv
        print(json.dumps(SIDES[side](read(Path(folder))[0], Path(weights), int(count))))
        return
    folder, count = sys.argv[1], sys.argv[2] if sys.argv[2:] else "500"
    with TemporaryDirectory() as scratch:
        weights = Path(scratch) / "rotate.pt"
        torch.save(Trainer(read(Path(folder))[0], {}, TRAIN).fit().state_dict(), weights)
        found = {side: _measured(side, folder, str(weights), count) for side in SIDES}
    total = found["mmkgc, evaluate step"]["queries"]
    best = found["mmkgc, evaluate step"]["seconds"]
    print(f"RotatE d = {DIMENSION} on DB15K, {total:,} test queries, {torch.get_num_threads()} threads\n")
    print("| | queries measured | seconds | queries a second | seconds for all | mmkgc is faster by | peak MB |")
    print("|---|---|---|---|---|---|---|")
    for side, row in found.items():
        rate = row["queries"] / row["seconds"]
        for_all = f"{total / rate:,.0f}" + (" (extrapolated)" if row["queries"] < total else "")
        cells = [f"{row['queries']:,}", f"{row['seconds']:.1f}", f"{rate:,.0f}", for_all]
        cells += [f"{total / rate / best:.1f} ×", f"{row['peak']:,.0f}"]
        print(f"| {side} | {' | '.join(cells)} |")
    for name in METRICS:
        mine, theirs = found["mmkgc, evaluate step"][name], found["PyKEEN, same score"][name]
        print(f"\n{name} of the first {count} triples, same score: {mine:.6f}, PyKEEN {theirs:.6f}")


def _measured(side: str, folder: str, weights: str, count: str) -> Found:
    command = [sys.executable, "-m", "tests.benchmarks.evaluation", "--of", side, folder, weights, count]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
