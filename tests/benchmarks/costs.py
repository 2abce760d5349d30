"""What does a query cost? The constants of ``serving/api/cost.py`` come from here.

    python tests/benchmarks/costs.py BUNDLE        # a folder; without it, random weights for 15,000 entities

Each kind of query is asked as a batch of so many, like a call of the gateway's; the best of three times, a query.
"""

import json
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.features import Features
from mmkgc.components.kge.graph import Graph, Vocabulary
from mmkgc.components.kge.model import Model, ModelConfig
from mmkgc.serving.api.cost import cost
from mmkgc.serving.engine.engine import Engine

ENTITIES, RELATIONS, TRIPLES, WIDTH = 15_000, 20, 400_000, 256
TIMES = 3


def main() -> None:
    engine = Engine.load(Path(sys.argv[1])) if len(sys.argv) > 1 else Engine(random_bundle())
    print("| query | at once | core ms a query | its cost |\n|---|---|---|---|")
    for name, count, query in kinds(engine):
        queries = [query] * count
        if not all("error" in answer for answer in engine.answer(queries[:1])):
            seconds = min(timed(engine, queries) for _ in range(TIMES))
            print(f"| {name} | {count} | {1000 * seconds / count:.2f} | {cost(query):.1f} |", flush=True)


def kinds(engine: Engine) -> Iterator[tuple[str, int, dict[str, Any]]]:
    head, relation, _ = engine.bundle.train[0].tolist()
    given = {"head": engine.bundle.entities.keys[head], "relation": engine.bundle.relations.keys[relation]}
    yield "plain", 256, given
    yield "plain, k 1000", 64, given | {"k": 1000}
    for k in (1, 10, 100, 1000):
        yield f"explained, k {k}", max(1, 256 // k), given | {"k": k, "explain": True}
    for size in (100, 1000, 10_000):
        yield f"text of {size} characters", 8, given | {"head": {"text": ("a town by a river " * 600)[:size]}}
    for side in (256, 1024, 5000):
        yield f"picture of {side} × {side}", 4, given | {"head": {"image": picture(side)}}


def timed(engine: Engine, queries: list[dict[str, Any]]) -> float:
    begun = time.process_time()
    json.dumps(engine.answer(queries))
    return time.process_time() - begun


def picture(side: int) -> str:
    file = BytesIO()
    Image.new("RGB", (side, side), "green").save(file, "PNG")
    return b64encode(file.getvalue()).decode()


def random_bundle() -> Bundle:
    """Sizes of MKG-Y: what a query costs does not depend on whether the weights were learned."""
    torch.manual_seed(0)
    triples = torch.stack([torch.randint(high, (TRIPLES,)) for high in (ENTITIES, RELATIONS, ENTITIES)], dim=1)
    triples = torch.unique(triples, dim=0)
    labels = [tuple(f"{kind} {index}" for index in range(n)) for kind, n in (("e", ENTITIES), ("r", RELATIONS))]
    entities, relations = (Vocabulary(names, names) for names in labels)
    graph = Graph(entities, relations, train=triples[20:], valid=triples[:10], test=triples[10:20], types=None)
    seen = torch.ones(ENTITIES, dtype=torch.bool)
    features = {m: Features(torch.randn(ENTITIES, 384), seen.clone()) for m in ("visual", "textual")}
    config = ModelConfig(dimension=WIDTH, structure_dropout=0.2)
    return Bundle.of(Model(config, RELATIONS, features, seen.clone()).eval(), graph)


if __name__ == "__main__":
    main()
