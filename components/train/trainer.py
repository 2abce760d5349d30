"""One training loop for every combination of model, strategy and objective."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from components.kge.features import Features
from components.kge.graph import HEAD, RELATION, TAIL, Graph, KnownTriples
from components.kge.model import Model
from components.kge.negatives import STRATEGIES
from components.kge.negatives.base import Batch, Context
from components.kge.objectives import OBJECTIVES
from components.kge.ranking import mrr, rank
from components.kge.regularizers import REGULARIZERS
from components.kge.step import batch_losses
from components.kge.tensors import total
from components.runtime.errors import UserError
from components.runtime.progress import Meter
from components.train import checkpoint
from components.train.config import TrainConfig
from components.train.optimizers import make_optimizer, make_schedule

OnEpoch = Callable[[int, dict[str, float]], None]
CHECKPOINT_SECONDS = 20.0


@dataclass
class Progress:
    """How far a run is, and the best model so far."""

    epoch: int = 0
    best_mrr: float = -1.0
    best_epoch: int = 0
    best_state: dict[str, Tensor] | None = None
    stale: int = 0  # measurements since the best one

    def note(self, epoch: int, value: float, state: Mapping[str, Tensor]) -> None:
        """Take a measurement into account."""
        self.stale += 1
        if value > self.best_mrr:
            self.best_mrr, self.best_epoch, self.stale = value, epoch, 0
            self.best_state = {name: tensor.detach().clone() for name, tensor in state.items()}


class Trainer:
    """Trains one model on one graph; ``fit`` returns the model with the best development MRR.

    All of a batch lives on the device: triples, sampler, filter. With ``checkpoint_path``, a killed run that is started
    again continues after its last checkpoint and, on the CPU, ends with the same bits.
    """

    def __init__(
        self,
        graph: Graph,
        features: Mapping[str, Features],
        config: TrainConfig,
        checkpoint_path: Path | None = None,
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
    ) -> None:
        self.graph, self.config = graph, config
        self.checkpoint_path, self.checkpoint_seconds = checkpoint_path, checkpoint_seconds
        self.device = _device(config.device)
        torch.manual_seed(config.seed)
        self.generator = torch.Generator(self.device).manual_seed(config.seed)
        sizes = len(graph.entities), len(graph.relations)
        self.triples = graph.train.to(self.device)
        self.train_known = KnownTriples(self.triples, *sizes)
        self.weights = (
            _subsampling(self.triples, sizes[1]) if config.subsampling else torch.ones_like(self.triples[:, 0])
        )
        self.weights = self.weights.float()

        used = {m: table for m, table in features.items() if config.uses(m)}
        seen = torch.zeros(sizes[0], dtype=torch.bool)
        seen[graph.train[:, [HEAD, TAIL]].flatten()] = True
        self.model = Model(config.model, *sizes, used, seen).to(self.device)
        self.objective = OBJECTIVES.create(config.objective)
        self.regularizer = REGULARIZERS.create(config.regularizer) if config.regularizer else None
        context = Context(self.model, graph, self.train_known, self.generator, self.objective)
        with torch.random.fork_rng(devices=[]):  # dropout is the same whatever the strategy draws for itself
            self.strategy = STRATEGIES.create(config.negatives, context).to(self.device) if config.negatives else None
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = make_optimizer(config.optimizer, parameters)
        self.batches = ceil(len(self.triples) / config.batch_size)
        self.schedule = make_schedule(config.optimizer, self.optimizer, self.batches * config.epochs)
        self.progress = Progress()

    def fit(self, on_epoch: OnEpoch = lambda epoch, metrics: None) -> Model:
        """Train to the end; ``on_epoch`` gets the metrics of each epoch (from 1). Raises ``UserError`` on NaN."""
        self._resume()
        meter = Meter("train", self.config.epochs * self.batches, "batch", self.progress.epoch * self.batches)
        saved = time.monotonic()
        while self.progress.epoch < self.config.epochs and not self._is_stale():
            metrics = self._run_epoch(meter)
            on_epoch(self.progress.epoch, metrics)
            if self.checkpoint_path and time.monotonic() - saved >= self.checkpoint_seconds:
                self._save()
                saved = time.monotonic()
        meter.finish()
        if self.progress.best_state is not None:
            self.model.load_state_dict(self.progress.best_state)
        return self.model.freeze()

    def summary(self) -> dict[str, Any]:
        """What the bundle should say about its training."""
        measured = self.progress.best_state is not None
        best = {"best_epoch": self.progress.best_epoch, "dev_mrr": self.progress.best_mrr} if measured else {}
        return {"epochs": self.progress.epoch, **best}

    def _run_epoch(self, meter: Meter) -> dict[str, float]:
        begun, epoch = time.monotonic(), self.progress.epoch
        self.model.train()
        if self.strategy:
            self.strategy.begin_epoch(epoch, self.config.epochs)
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        order = torch.randperm(len(self.triples), generator=self.generator, device=self.device)
        for index, rows in enumerate(order.split(self.config.batch_size)):
            loss = self._step(Batch(self.triples[rows], self.weights[rows]))
            if not loss.isfinite():
                self._stop(epoch + 1, index, rows, loss)
            total += loss
            meter.advance(note=self._note())
        self.progress.epoch = epoch + 1
        seconds = time.monotonic() - begun
        metrics = {"loss": total.item() / self.batches, "triples_per_second": len(self.triples) / seconds}
        metrics |= self.strategy.metrics() if self.strategy else {}
        last = self.progress.epoch == self.config.epochs
        if len(self.graph.valid) and (last or self.progress.epoch % self.config.evaluate_every == 0):
            metrics["dev_mrr"] = self._dev_mrr()
            self.progress.note(self.progress.epoch, metrics["dev_mrr"], self.model.state_dict())
        return metrics

    def _step(self, batch: Batch) -> Tensor:
        blocks = self.strategy.sample(batch, self.model) if self.strategy else []
        losses = batch_losses(self.model, batch, blocks, self.objective, self.train_known, self.regularizer)
        loss = total(losses.values())
        self.optimizer.zero_grad()
        loss.backward()
        if self.config.optimizer.clip:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optimizer.clip)
        self.optimizer.step()
        self.schedule.step()
        if self.strategy:
            self.strategy.update(batch, blocks, self.model)
        return loss.detach()

    def _dev_mrr(self) -> float:
        known = KnownTriples(self.graph.selection_triples, len(self.graph.entities), len(self.graph.relations))
        return mrr(rank(self.model, self.graph.valid.to(self.device), known.to(self.device)))

    def _note(self) -> str:
        return f"dev MRR {self.progress.best_mrr:.3f}" if self.progress.best_state is not None else ""

    def _is_stale(self) -> bool:
        return self.config.patience is not None and self.progress.stale >= self.config.patience

    def _stop(self, epoch: int, index: int, rows: Tensor, loss: Tensor) -> None:
        head, relation, tail = self.triples[rows[0]].tolist()
        names = self.graph.entities.names[head], self.graph.relations.names[relation], self.graph.entities.names[tail]
        raise UserError(
            f"train: epoch {epoch}, batch {index + 1} of {self.batches} (its first triple: {', '.join(names)})",
            f"the loss is {loss.item()}",
            "lower optimizer.lr, or set optimizer.clip",
        )

    def _save(self) -> None:
        state = {name: part.state_dict() for name, part in self._parts().items()}
        state |= {"progress": vars(self.progress), "random": checkpoint.random_state(self.generator)}
        checkpoint.save(self.checkpoint_path, state)

    def _resume(self) -> None:
        state = checkpoint.load(self.checkpoint_path, self.device) if self.checkpoint_path else None
        if state is None:
            return
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.progress = Progress(**state["progress"])
        checkpoint.restore_random_state(state["random"], self.generator)
        print(f"train resumes after epoch {self.progress.epoch} of {self.config.epochs}", flush=True)

    def _parts(self) -> dict[str, Any]:
        """Everything with a state."""
        parts = {"model": self.model, "optimizer": self.optimizer, "schedule": self.schedule, "strategy": self.strategy}
        parts["strategy_optimizer"] = self.strategy.optimizer if self.strategy else None
        return {name: part for name, part in parts.items() if part is not None}


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("train.device", "this machine has no CUDA device", "set device: auto")
    return torch.device(name)


def _subsampling(triples: Tensor, n_relations: int) -> Tensor:
    """1/√(#(h, r) + #(r, t) + 8) ``[T]``: both counts start at 4 in the RotatE code base."""
    heads, relations, tails = triples[:, HEAD], triples[:, RELATION], triples[:, TAIL]
    counts = [
        torch.unique(e * n_relations + relations, return_inverse=True, return_counts=True) for e in (heads, tails)
    ]
    return sum(count[inverse] for _, inverse, count in counts).add(8).float().rsqrt()
