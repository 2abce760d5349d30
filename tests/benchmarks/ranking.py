"""Filtered ranking beside PyKEEN, in queries a second; prints one table.

    python tests/benchmarks/ranking.py [rounds]

Both: 12,842 entities, 279 relations, 79,222 random triples as the filter, d = 200, both sides of every triple,
realistic ranks. The queries differ from each other, so that ours gains nothing from scoring equal ones once. PyKEEN's
evaluator chooses its own batch size.
"""

import torch

from mmkgc.components.kge.evaluation.ranks import rank
from mmkgc.components.kge.graph import KnownTriples
from mmkgc.components.kge.model import Model, ModelConfig
from mmkgc.components.runtime.malloc import keep_freed_memory
from tests.benchmarks.sides import ENTITIES, OURS, PEER, RELATIONS, Clock, main, random_triples

DIMENSION = 200
OUR_TRIPLES, PEER_TRIPLES = 2048, 64


def ours(model: str) -> dict[str, float]:
    """Two queries a triple."""
    keep_freed_memory()  # as the evaluate step does
    triples = random_triples()
    config = ModelConfig.model_validate({"dimension": DIMENSION, "interaction": model, "fusion": "structure"})
    network = Model(config, RELATIONS, {}, torch.ones(ENTITIES, dtype=torch.bool))
    known = KnownTriples(triples, ENTITIES, RELATIONS)
    rank(network, triples[:256], known)  # warm-up
    clock = Clock()
    rank(network, triples[-OUR_TRIPLES:], known)
    return clock.rates(2 * OUR_TRIPLES)


def peer(model: str) -> dict[str, float]:
    """Two queries a triple."""
    from pykeen.evaluation import RankBasedEvaluator
    from pykeen.models import RotatE, TransE
    from pykeen.triples import CoreTriplesFactory

    triples = random_triples()
    factory = CoreTriplesFactory(triples, num_entities=ENTITIES, num_relations=RELATIONS)
    interaction = {"rotate": RotatE, "transe": TransE}[model]
    network = interaction(triples_factory=factory, embedding_dim=DIMENSION, random_seed=0)
    evaluator = RankBasedEvaluator()
    evaluator.evaluate(network, triples[:32], additional_filter_triples=[triples], use_tqdm=False)  # warm-up
    clock = Clock()
    evaluator.evaluate(network, triples[-PEER_TRIPLES:], additional_filter_triples=[triples], use_tqdm=False)
    return clock.rates(2 * PEER_TRIPLES)


if __name__ == "__main__":
    main("Filtered ranking", "queries a second", {OURS: ours, PEER: peer})
