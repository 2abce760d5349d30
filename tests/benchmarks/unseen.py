"""How well are entities answered that the model has never seen? `countries`, a fifth of the countries held out.

    python tests/benchmarks/unseen.py [seeds [KEY=VALUE …]]

The held-out countries are in no triple of the training and not among its entities. Each of their triples whose other
end is known is then asked, the held-out country given by its text, its flag, or both, as the encoders read them; the
known end is ranked among all entities, other true answers left out. Beside it: relation popularity, and the same
model given the zero vector, or the text of another held-out country by chance. All other triples but those of the
development split are trained on.
"""

import statistics
import sys
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.extract.extract import extract
from mmkgc.components.ingest.ingest import ingest
from mmkgc.components.kge.evaluation.baseline import RelationPopularity
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL, Graph, Vocabulary, no_triples
from mmkgc.components.kge.model import Model
from mmkgc.components.train.config import TrainConfig
from mmkgc.components.train.trainer import Trainer
from mmkgc.feature_store.opening import open_storage
from mmkgc.feature_store.reader import load_features
from mmkgc.feature_store.storage import Storage
from mmkgc.pipeline import config

RECIPE = config.load("countries", sys.argv[2:])
SHARE = 0.2
Row = tuple[int, str, Tensor]  # held-out entity, side that is asked for, its triple


def main() -> None:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    storage = open_storage()
    graph_uri = ingest(RECIPE.dataset, RECIPE.ingest, storage).uri
    mmkg = MMKG.load(storage.fetch(graph_uri))
    manifests = {m: extract(graph_uri, m, RECIPE.extract, storage).uri for m in ("visual", "textual")}
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in range(seeds):
        for name, ranks in measure(mmkg, manifests, storage, seed).items():
            found.setdefault(name, []).append((float(np.mean(1 / ranks)), float(np.mean(ranks <= 10))))
        print(f"seed {seed}: {len(ranks)} queries", file=sys.stderr, flush=True)
    print("| the held-out entity is given by | MRR | Hits@10 | seeds |\n|---|---|---|---|")
    for name, values in found.items():
        mrr, hits = (_spread([value[place] for value in values]) for place in (0, 1))
        print(f"| {name} | {mrr} | {hits} | {seeds} |")


def measure(mmkg: MMKG, manifests: dict[str, str], storage: Storage, seed: int) -> dict[str, np.ndarray]:
    """Ranks of the gold answers by what the entity was given by."""
    countries = [index for index, images in enumerate(mmkg.content("visual")) if images]
    rng = np.random.default_rng(seed)
    held = sorted(rng.choice(countries, round(SHARE * len(countries)), replace=False).tolist())
    other = dict(zip(held, rng.permutation(held).tolist(), strict=True))
    graph, kept = without(mmkg.graph, held)
    features, everyones = (
        {m: load_features(uri, keys, storage) for m, uri in manifests.items()}
        for keys in (graph.entities.keys, mmkg.graph.entities.keys)
    )
    chosen = TrainConfig.model_validate(RECIPE.train.model_dump() | {"seed": seed})
    model = Trainer(graph, features, chosen).fit()
    texts, flags = (everyones[m].vectors for m in ("textual", "visual"))
    given: dict[str, Callable[[int], dict[str, Tensor]]] = {
        "its text": lambda e: {"textual": texts[e]},
        "its flag": lambda e: {"visual": flags[e]},
        "text and flag": lambda e: {"textual": texts[e], "visual": flags[e]},
        "the text of another": lambda e: {"textual": texts[other[e]]},
        "a zero vector as its text": lambda e: {"textual": torch.zeros_like(texts[e])},
    }
    questions = ask(mmkg.graph, held)
    scores = {name: scored(model, questions, describe) for name, describe in given.items()}
    scores["nothing: relation popularity"] = popular(RelationPopularity(graph), questions)
    return {name: ranks_of(table, questions, mmkg.graph, kept) for name, table in scores.items()}


def without(graph: Graph, held: list[int]) -> tuple[Graph, Tensor]:
    """The graph without some entities, and the old id of each that is left."""
    kept = torch.tensor([index for index in range(len(graph.entities)) if index not in set(held)])
    new = torch.full((len(graph.entities),), -1)
    new[kept] = torch.arange(len(kept))

    def renumber(triples: Tensor) -> Tensor:
        moved = triples.clone()
        moved[:, [HEAD, TAIL]] = new[triples[:, [HEAD, TAIL]]]
        return moved[(moved >= 0).all(1)]

    keys, names = (tuple(column[i] for i in kept.tolist()) for column in (graph.entities.keys, graph.entities.names))
    train = renumber(torch.cat([graph.train, graph.test]))
    return Graph(Vocabulary(keys, names), graph.relations, train, renumber(graph.valid), no_triples()), kept


def ask(graph: Graph, held: list[int]) -> list[Row]:
    """Triples of one held-out entity each, with the side of its known end."""
    outside = torch.zeros(len(graph.entities), dtype=torch.bool)
    outside[held] = True
    return [
        (triple[HEAD].item(), "tail", triple) if outside[triple[HEAD]] else (triple[TAIL].item(), "head", triple)
        for triple in graph.all_triples.unique(dim=0)
        if outside[triple[HEAD]] != outside[triple[TAIL]]
    ]


@torch.no_grad()
def scored(model: Model, questions: list[Row], describe: Callable[[int], dict[str, Tensor]]) -> Tensor:
    """Scores ``[Q, N]`` of all entities, the held-out one given by raw features."""
    rows = []
    for entity, side, triple in questions:
        modal = model.entities.encode_new({m: vector.unsqueeze(0) for m, vector in describe(entity).items()})
        relation = triple[RELATION].unsqueeze(0)
        rows.append(
            model.score_queries([(modal, relation, "tail")])[0]
            if side == "tail"
            else model.score_queries([(modal, relation, "head")])[0]
        )
    return torch.cat(rows)


def popular(popularity: RelationPopularity, questions: list[Row]) -> Tensor:
    """Scores ``[Q, N]`` that look at the relation alone."""
    anyone = torch.zeros(1, dtype=torch.long)
    return torch.cat(
        [
            popularity.score_tails(anyone, triple[[RELATION]])
            if side == "tail"
            else popularity.score_heads(triple[[RELATION]], anyone)
            for _, side, triple in questions
        ]
    )


def ranks_of(scores: Tensor, questions: list[Row], graph: Graph, kept: Tensor) -> np.ndarray:
    """Filtered ranks, ties at their mean."""
    position = {old: new for new, old in enumerate(kept.tolist())}
    facts = {tuple(triple) for triple in graph.all_triples.tolist()}
    ranks = []
    for row, (_, side, triple) in zip(scores.numpy(), questions, strict=True):
        head, relation, tail = triple.tolist()
        gold = tail if side == "tail" else head
        own = row[position[gold]]
        rivals = row.copy()
        for old, new in position.items():
            other = (head, relation, old) if side == "tail" else (old, relation, tail)
            if other in facts:
                rivals[new] = np.nan
        ranks.append(1 + np.sum(rivals > own) + np.sum(rivals == own) / 2)
    return np.array(ranks)


def _spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values) if len(values) > 1 else 0:.3f}"


if __name__ == "__main__":
    main()
