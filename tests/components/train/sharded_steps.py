"""A program for torchrun: steps of a training whose table is divided. Writes its losses, the table and its state.

torchrun --nproc-per-node P sharded_steps.py FOLDER STEPS
"""

import json
import sys
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import torch

from mmkgc.components.kge.features import Features
from mmkgc.components.kge.graph import Graph, Vocabulary
from mmkgc.components.train.config import TrainConfig
from mmkgc.components.train.trainer import Trainer

N, R, STEPS = 301, 5, 24
SETTINGS: dict[str, Any] = {
    "model": {"dimension": 8, "interaction": "complex", "fusion": "sum", "encoder": "sharded"},
    "negatives": {"name": "shared", "count": 16, "group": 64},
    "optimizer": {"name": "row-adagrad", "lr": 0.1, "schedule": "linear"},
    "regularizer": {"name": "n3", "weight": 0.001},
    "batch_size": 257,  # leaves a last batch of one triple, of which only one process gets any
    "epochs": 6,
    "evaluate_every": 2,
}


def graph() -> Graph:
    """Triples that fill four batches and one triple more; all but the last entities are in some."""
    random = torch.Generator().manual_seed(0)
    columns = [torch.randint(size, (1400,), generator=random) for size in (N - 3, R, N - 3)]
    triples = torch.unique(torch.stack(columns, dim=1), dim=0)
    triples = triples[torch.randperm(len(triples), generator=random)]
    size = 4 * SETTINGS["batch_size"] + 1
    keys = [tuple(f"{kind}{index}" for index in range(size)) for kind, size in (("e", N), ("r", R))]
    return Graph(
        *(Vocabulary(names, names) for names in keys), triples[:size], triples[size : size + 40], triples[size + 40 :]
    )


def features() -> dict[str, Features]:
    mask = torch.arange(N) % 4 > 0
    vectors = torch.randn(N, 6, generator=torch.Generator().manual_seed(1)) * mask.unsqueeze(1)
    return {"textual": Features(vectors, mask)}


def batches(trainer: Trainer) -> Any:
    return chain.from_iterable(trainer.shuffled() for _ in count())


def main() -> None:
    folder, steps = Path(sys.argv[1]), int(sys.argv[2])
    trainer = Trainer(graph(), features(), TrainConfig.model_validate(SETTINGS), folder / "checkpoint.pt")
    assert trainer.shards is not None
    trainer._resume()
    trainer.model.train()
    found = []
    for rows in islice(batches(trainer), steps):
        mine = len(trainer.group.share(rows))
        losses = trainer.step(rows)
        found.append(sum(loss.item() for loss in losses.values()) * mine / len(rows))
    trainer.selection.epoch += 1
    trainer._measure()
    trainer._save()
    table, sums = trainer.shards.all(), trainer.shards.sums.tolist()
    dense = {name: tensor for name, tensor in trainer.model.state_dict().items() if "structure" not in name}
    torch.save({"table": table, "sums": sums, "dense": dense}, folder / f"state-{trainer.group.rank}.pt")
    (folder / f"losses-{trainer.group.rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
