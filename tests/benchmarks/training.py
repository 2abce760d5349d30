"""Training beside PyKEEN, in triples a second; prints one table.

    python tests/benchmarks/training.py [rounds]

Both: 12,842 entities, 279 relations, 79,222 random triples, d = 200, batch 1024, 64 uniform negatives,
self-adversarial loss, Adam, float32, each library's own loop. Ours rejects train positives among the negatives, which
PyKEEN by default does not. PyKEEN's RotatE takes the norm of the whole complex vector, ours the paper's sum of moduli.
"Default" is what a user gets: ours then keeps freed memory by itself.
"""

import torch

from mmkgc.components.runtime.malloc import keep_freed_memory
from mmkgc.components.train.config import TrainConfig
from mmkgc.components.train.trainer import Trainer
from tests.benchmarks.sides import ENTITIES, OURS, PEER, RELATIONS, TRIPLES, Clock, main, random_graph, random_triples

BATCH, NEGATIVES, DIMENSION = 1024, 64, 200
PEER_BATCHES = 8  # its rate does not depend on how many there are


def ours(model: str) -> dict[str, float]:
    """Of the second epoch."""
    keep_freed_memory()  # as the train step does
    config = TrainConfig.model_validate(
        {
            "model": {"dimension": DIMENSION, "interaction": model, "fusion": "structure"},
            "negatives": {"name": "uniform", "count": NEGATIVES},
            "batch_size": BATCH,
            "epochs": 2,
        }
    )
    clocks: list[Clock] = []
    Trainer(random_graph(), {}, config).fit(lambda epoch, metrics: clocks.append(Clock()))
    return clocks[0].rates(TRIPLES)


def peer(model: str) -> dict[str, float]:
    """After a warm-up of one batch."""
    from pykeen.losses import NSSALoss
    from pykeen.models import RotatE, TransE
    from pykeen.training import SLCWATrainingLoop
    from pykeen.triples import CoreTriplesFactory

    triples = random_triples()
    sizes = {"num_entities": ENTITIES, "num_relations": RELATIONS}
    warm_up = CoreTriplesFactory(triples[:BATCH], **sizes)
    factory = CoreTriplesFactory(triples[: PEER_BATCHES * BATCH], **sizes)
    interaction = {"rotate": RotatE, "transe": TransE}[model]
    network = interaction(triples_factory=factory, embedding_dim=DIMENSION, loss=NSSALoss(), random_seed=0)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    negatives = {"num_negs_per_pos": NEGATIVES}
    loop = SLCWATrainingLoop(
        model=network, triples_factory=factory, optimizer=optimizer, negative_sampler_kwargs=negatives
    )
    loop.train(warm_up, num_epochs=1, batch_size=BATCH, use_tqdm=False)
    clock = Clock()
    loop.train(factory, num_epochs=1, batch_size=BATCH, use_tqdm=False)
    return clock.rates(PEER_BATCHES * BATCH)


if __name__ == "__main__":
    main("Training", "triples a second", {OURS: ours, PEER: peer})
