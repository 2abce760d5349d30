"""Training on 100,000 entities and a million triples beside PyKEEN, in triples a second; prints one table.

    python -m tests.benchmarks.large [rounds]

Both: ComplEx d = 128 (256 reals) on structure, batches of 8,192, 64 negatives, self-adversarial loss, float32, random
triples, each library's own loop. Ours has the settings of ``docs/scale.md``: 64 negatives shared by 1,024 positives,
and an optimizer that changes the batch's rows. PyKEEN 1.11 offers neither: 64 negatives of each positive, and Adam,
which moves all rows. "uniform, Adam" is ours with these.
"""

from functools import partial

import torch

from mmkgc.components.runtime.malloc import keep_freed_memory
from mmkgc.components.train.config import TrainConfig
from mmkgc.components.train.trainer import Trainer
from mmkgc.pipeline import scale
from tests.benchmarks.sides import OURS, PEER, Clock, Size, main, random_graph, random_triples

SIZE = Size(entities=100_000, relations=50, triples=1_000_000)
BATCH, NEGATIVES, DIMENSION = 8192, 64, 128
WARM_UP, BATCHES = 3, {OURS: 40, PEER: 3}
SHARED = scale.TRAINING | {
    "model": {"dimension": DIMENSION, "interaction": "complex", "fusion": "structure"},
    "precision": "float32",
}
SETTINGS = {
    "shared, row-adagrad": SHARED,
    "uniform, Adam": SHARED | {"negatives": {"name": "uniform", "count": NEGATIVES}, "optimizer": {"name": "adam"}},
}


def ours(settings: str) -> dict[str, float]:
    """After a warm-up of three batches."""
    keep_freed_memory()  # as the train step does
    config = TrainConfig.model_validate(SETTINGS[settings])
    trainer = Trainer(random_graph(SIZE), {}, config)
    trainer.model.train()
    batches = iter(trainer.shuffled())
    for _ in range(WARM_UP):
        trainer.step(next(batches))
    clock = Clock()
    for _ in range(BATCHES[OURS]):
        trainer.step(next(batches))
    return clock.rates(BATCHES[OURS] * BATCH)


def peer(settings: str) -> dict[str, float]:
    """After a warm-up of one batch; the same for all ``settings``."""
    from pykeen.losses import NSSALoss
    from pykeen.models import ComplEx
    from pykeen.training import SLCWATrainingLoop
    from pykeen.triples import CoreTriplesFactory

    sizes = {"num_entities": SIZE.entities, "num_relations": SIZE.relations}
    parts = random_triples(SIZE).split(BATCH)
    warm_up, factory = (
        CoreTriplesFactory(torch.cat(part), **sizes) for part in (parts[:1], parts[1 : 1 + BATCHES[PEER]])
    )
    network = ComplEx(triples_factory=factory, embedding_dim=DIMENSION, loss=NSSALoss(), random_seed=0)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    train = partial(
        SLCWATrainingLoop(
            model=network,
            triples_factory=factory,
            optimizer=optimizer,
            negative_sampler_kwargs={"num_negs_per_pos": NEGATIVES},
        ).train,
        num_epochs=1,
        batch_size=BATCH,
        use_tqdm=False,
    )
    train(warm_up)
    clock = Clock()
    train(factory)
    return clock.rates(BATCHES[PEER] * BATCH)


if __name__ == "__main__":
    main("Training, 100,000 entities", "triples a second", {OURS: ours, PEER: peer}, tuple(SETTINGS))
