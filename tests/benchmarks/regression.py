"""Does training still reach the MRR that it once reached? Prints one line for each dataset and model.

    python -m tests.benchmarks.regression <folder with DB15K/ and MKG-Y/ as TSV> [name …]

Structure only, ComplEx of rank 100, reciprocal relations, all-entity cross-entropy, N3, Adagrad. Filtered test MRR with
realistic ties; nothing is selected on any split, the last epoch counts. DB15K's contaminated validation split stays in
the filter, as in the protocol of the field.
"""

import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from mmkgc.components.kge.evaluation.ranks import mrr, rank
from mmkgc.components.kge.features import Features
from mmkgc.components.kge.graph import Graph, KnownTriples, Vocabulary, no_triples
from mmkgc.components.runtime.malloc import keep_freed_memory
from mmkgc.components.train.config import TrainConfig
from mmkgc.components.train.trainer import Trainer

COMPLEX = {
    "model": {"dimension": 100, "interaction": "complex", "fusion": "structure", "reciprocal": True},
    "loss": "cross-entropy",
    "regularizer": {"name": "n3", "weight": 0.005},
    "optimizer": {"name": "adagrad", "lr": 0.1},
    "batch_size": 1024,
}
TEXT = COMPLEX | {"model": COMPLEX["model"] | {"fusion": "sum"}}
RUNS = {
    "db15k": ("DB15K", COMPLEX | {"epochs": 8}, 33.5),
    "mkg-y": ("MKG-Y", COMPLEX | {"epochs": 25, "regularizer": {"name": "n3", "weight": 0.01}}, 35.7),
    "db15k-text": ("DB15K", TEXT | {"epochs": 12}, 36.5),
}


def main() -> None:
    keep_freed_memory()
    folder, names = Path(sys.argv[1]), sys.argv[2:] or list(RUNS)
    for name in names:
        dataset, settings, goal = RUNS[name]
        graph, texts = read(folder / dataset)
        features = {"textual": sentence_vectors(texts)} if name.endswith("text") else {}
        begun = time.monotonic()
        model = Trainer(graph, features, TrainConfig(**settings)).fit()
        trained = time.monotonic()
        known = KnownTriples(graph.all_triples, len(graph.entities), len(graph.relations))
        value = 100 * mrr(rank(model, graph.test, known))
        ranked = time.monotonic()
        print(
            f"{name}: test MRR {value:.2f} (goal {goal}), {settings['epochs']} epochs in {trained - begun:.0f} s, "
            f"ranking {2 * len(graph.test)} queries in {ranked - trained:.1f} s, {torch.get_num_threads()} threads",
            flush=True,
        )


def read(folder: Path) -> tuple[Graph, list[str]]:
    """The graph, with every validation triple in the filter alone, and each entity's "name: description"."""
    entities, relations = _rows(folder / "entities.tsv"), _rows(folder / "relations.tsv")
    vocabularies = [Vocabulary(tuple(r[0] for r in rows), tuple(r[1] for r in rows)) for rows in (entities, relations)]
    train, valid, test = (_triples(folder / f"{split}.tsv", *vocabularies) for split in ("train", "valid", "test"))
    graph = Graph(*vocabularies, train=train, valid=no_triples(), test=test, known=valid)
    return graph, [": ".join(part for part in row[1:3] if part) for row in entities]


def sentence_vectors(texts: list[str]) -> Features:
    """SBERT's vectors of the texts."""
    from mmkgc.components.encoders.sbert import SBERT

    encoder = SBERT(SBERT.Config())
    parts = [torch.as_tensor(encoder.encode(texts[start : start + 64])) for start in range(0, len(texts), 64)]
    return Features(torch.cat(parts), torch.ones(len(texts), dtype=torch.bool))


def _rows(path: Path) -> list[list[str]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines[1:]]


def _triples(path: Path, entities: Vocabulary, relations: Vocabulary) -> Tensor:
    rows = _rows(path)
    return torch.tensor([[entities.ids[h], relations.ids[r], entities.ids[t]] for h, r, t in rows])


if __name__ == "__main__":
    main()
