"""Seconds of training until a development MRR is reached on DB15K, beside PyKEEN, which has the same texts' vectors.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.peers [--at-end] path/to/DB15K [GOAL [SECONDS [SIDE …]]]

Ours is the recipe `db15k-fast` without numbers. PyKEEN's sides: ComplEx on structure, the same with a linear map of the
vectors added, its multi-modal ComplExLiteral, and its RotatE. ComplEx has our rank, initial values, optimizer, learning
rate and batch size, and is trained against all entities (LCWA, cross-entropy); RotatE has 64 negatives and the
self-adversarial loss. Each side is trained in a process of its own until GOAL (%) or for SECONDS of processor time. The
measurements after the epochs, on development data, count in ours, not in PyKEEN's; --at-end measures once, after
SECONDS, for models whose ranking takes much longer than an epoch. The split is the recipe's, ranks are filtered, and
ours ranks the scores of all sides.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.kge.evaluation.ranks import Untrained, mrr, rank
from mmkgc.components.kge.features import Features
from mmkgc.components.kge.graph import Graph, KnownTriples
from mmkgc.components.runtime.malloc import keep_freed_memory
from mmkgc.components.train.features import training_features
from mmkgc.components.train.trainer import Trainer
from mmkgc.feature_store.opening import open_storage
from mmkgc.pipeline import cells, config

RANK, BATCH, LEARNING_RATE = 100, 1024, 0.1
GOAL, SECONDS = 33.0, 600.0  # %; of processor time


class Enough(Exception):
    """The goal is reached, or the time is used up."""


class Course:
    """Prints the development MRR after each epoch, or at the end, beside the seconds of training, and ends it."""

    def __init__(self, goal: float, seconds: float, at_end: bool) -> None:
        self.goal, self.seconds, self.at_end = goal, seconds, at_end
        self.epochs, self.trained, self.begun = 0, 0.0, time.process_time()

    def epoch(self, measure: Callable[[], float]) -> None:
        self.trained += time.process_time() - self.begun
        self.epochs += 1
        ended = self.trained >= self.seconds
        if ended or not self.at_end:
            found = 100 * measure()
            print(f"{self.epochs} epochs, {self.trained:.0f} s: development MRR {found:.2f}", flush=True)
            ended = ended or found >= self.goal
        if ended:
            raise Enough
        self.begun = time.process_time()


class PyKEENScores(Untrained):
    """PyKEEN's model as something that can be ranked."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def score_tails(self, heads: Tensor, relations: Tensor) -> Tensor:
        return self.model.predict_t(torch.stack([heads, relations], dim=1))

    def score_heads(self, relations: Tensor, tails: Tensor) -> Tensor:
        return self.model.predict_h(torch.stack([relations, tails], dim=1))


class LinearMap(nn.Module):
    """From a text's vector to a complex one of our rank."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 2 * RANK, bias=False)

    def forward(self, vectors: Tensor) -> Tensor:
        return torch.view_as_complex(self.linear(vectors).unflatten(-1, (RANK, 2)))


def ours(graph: Graph, features: dict[str, Features], recipe: config.Recipe, course: Course) -> None:
    """``db15k-fast``, measured after each epoch."""
    trainer = Trainer(graph, features, recipe.train)
    trainer.fit(lambda epoch, metrics: course.epoch(lambda: metrics["dev_mrr"]))


def complex_structure(graph: Graph, vectors: Tensor, course: Course) -> None:
    """PyKEEN's ComplEx."""
    from pykeen.models import ComplEx

    small = {"entity_initializer": _small, "relation_initializer": _small}
    _against_all(partial(ComplEx, embedding_dim=RANK, **small), graph, course)


def complex_with_text(graph: Graph, vectors: Tensor, course: Course) -> None:
    """PyKEEN's ComplEx interaction on the sum of an embedding and the mapped text."""
    from pykeen.models import ERModel
    from pykeen.nn.combination import Combination
    from pykeen.nn.init import PretrainedInitializer
    from pykeen.nn.representation import CombinedRepresentation, Embedding, TransformedRepresentation

    class Sum(Combination):
        def forward(self, xs: Sequence[Tensor]) -> Tensor:
            return xs[0] + xs[1]

        def output_shape(self, input_shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
            return input_shapes[0]

    def model(triples_factory: Any, **rest: Any) -> Any:
        count = triples_factory.num_entities
        text = Embedding(count, shape=vectors.shape[1], initializer=PretrainedInitializer(vectors), trainable=False)
        mapped = TransformedRepresentation(transformation=LinearMap(vectors.shape[1]), base=text, shape=(RANK,))
        structure = Embedding(count, shape=RANK, dtype=torch.cfloat, initializer=_small)
        entities = CombinedRepresentation(count, base=[structure, mapped], combination=Sum(), shape=(RANK,))
        relations = Embedding(triples_factory.num_relations, shape=RANK, dtype=torch.cfloat, initializer=_small)
        return ERModel(
            triples_factory=triples_factory,
            interaction="complex",
            entity_representations=entities,
            relation_representations=relations,
            **rest,
        )

    _against_all(model, graph, course)


def complex_literal(graph: Graph, vectors: Tensor, course: Course) -> None:
    """PyKEEN's ComplExLiteral, with the texts' vectors as the literals."""
    from pykeen.models import ComplExLiteral

    _against_all(partial(ComplExLiteral, embedding_dim=RANK), graph, course, vectors)


def rotate(graph: Graph, vectors: Tensor, course: Course) -> None:
    """PyKEEN's RotatE."""
    from pykeen.models import RotatE
    from pykeen.training import SLCWATrainingLoop

    factory = _factory(graph, None, create_inverse_triples=False)
    model = RotatE(triples_factory=factory, embedding_dim=RANK, loss="nssa", random_seed=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.002)
    sampling = {"negative_sampler_kwargs": {"num_negs_per_pos": 64}}
    _train(
        SLCWATrainingLoop(model=model, triples_factory=factory, optimizer=optimizer, **sampling), factory, graph, course
    )


PEERS = {
    "ComplEx": complex_structure,
    "ComplEx-and-text": complex_with_text,
    "ComplExLiteral": complex_literal,
    "RotatE": rotate,
}


def _small(values: Tensor) -> Tensor:
    """Our initial values (Lacroix et al. 2018): with PyKEEN's, of deviation 1, ComplEx hardly learns in this time."""
    return nn.init.normal_(values, std=1e-3)


def _against_all(make: Callable[..., Any], graph: Graph, course: Course, literals: Tensor | None = None) -> None:
    from pykeen.training import LCWATrainingLoop

    factory = _factory(graph, literals, create_inverse_triples=True)
    model = make(triples_factory=factory, loss="crossentropy", random_seed=0)
    optimizer = torch.optim.Adagrad(model.parameters(), lr=LEARNING_RATE)
    _train(LCWATrainingLoop(model=model, triples_factory=factory, optimizer=optimizer), factory, graph, course)


def _factory(graph: Graph, literals: Tensor | None, create_inverse_triples: bool) -> Any:
    from pykeen.triples import CoreTriplesFactory, TriplesNumericLiteralsFactory

    sizes = {"num_entities": len(graph.entities), "num_relations": len(graph.relations)}
    if literals is None:
        return CoreTriplesFactory(graph.train, **sizes, create_inverse_triples=create_inverse_triples)
    return TriplesNumericLiteralsFactory(
        mapped_triples=graph.train,
        entity_to_id={key: row for row, key in enumerate(graph.entities.keys)},
        relation_to_id={key: row for row, key in enumerate(graph.relations.keys)},
        numeric_literals=literals.numpy(),
        literals_to_id={str(column): column for column in range(literals.shape[1])},
        create_inverse_triples=create_inverse_triples,
    )


def _train(loop: Any, factory: Any, graph: Graph, course: Course) -> None:
    """Train without end; the course ends it."""
    from pykeen.training import TrainingCallback

    class AfterEpoch(TrainingCallback):
        def post_epoch(self, *_: Any, **__: Any) -> None:
            course.epoch(lambda: _development_mrr(PyKEENScores(loop.model), graph))

    loop.train(factory, num_epochs=10_000, batch_size=BATCH, use_tqdm=False, callbacks=AfterEpoch())


def _development_mrr(scores: PyKEENScores, graph: Graph) -> float:
    known = KnownTriples(graph.selection_triples, len(graph.entities), len(graph.relations))
    with torch.inference_mode():
        return mrr(rank(scores, graph.valid, known))


def _of(side: str, folder: str, goal: float, seconds: float, at_end: bool) -> None:
    keep_freed_memory()
    changes = [f"dataset={folder}", "extract.numeric=null", "train.evaluate_every=1", "train.patience=null"]
    recipe, storage = config.load("db15k-fast", [*changes, "train.epochs=1000"]), open_storage()
    inputs = cells.prepare(recipe, storage)
    graph, course = MMKG.load(storage.fetch(inputs.graph)).graph, Course(goal, seconds, at_end)
    features = training_features(inputs.features, graph.entities.keys, recipe.train, storage)
    try:
        if side == "mmkgc":
            ours(graph, features, recipe, course)
        else:
            PEERS[side](graph, features["textual"].vectors.float(), course)
    except Enough:
        pass


def main() -> None:
    if sys.argv[1:2] == ["--of"]:
        side, folder, goal, seconds, at_end = sys.argv[2:]
        _of(side, folder, float(goal), float(seconds), at_end == str(True))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--at-end", action="store_true")
    parser.add_argument("folder")
    parser.add_argument("goal", nargs="?", default=str(GOAL))
    parser.add_argument("seconds", nargs="?", default=str(SECONDS))
    parser.add_argument("sides", nargs="*", metavar="SIDE", default=["mmkgc", *PEERS])
    asked = parser.parse_args()
    for side in asked.sides:
        print(f"\n{side}", flush=True)
        command = [
            sys.executable,
            "-m",
            "tests.benchmarks.peers",
            "--of",
            side,
            asked.folder,
            asked.goal,
            asked.seconds,
            str(asked.at_end),
        ]
        subprocess.run(command, cwd=Path(__file__).parents[2], check=True)


if __name__ == "__main__":
    main()
