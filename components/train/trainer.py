"""The training loop, for every combination of model, sampler and loss."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmkgc.components.kge.batch_loss import BatchLosses, batch_losses
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.entity_encoders.sharded import Sharded
from mmkgc.components.kge.evaluation.ranks import mrr, rank
from mmkgc.components.kge.features import Features
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL, Graph, KnownTriples
from mmkgc.components.kge.grouped import QueryGroups
from mmkgc.components.kge.interactions.base import Side
from mmkgc.components.kge.losses import LOSSES
from mmkgc.components.kge.losses.base import GroupedLoss
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.negatives import SAMPLERS
from mmkgc.components.kge.negatives.base import Context
from mmkgc.components.kge.negatives.inspection import hardness, inspect
from mmkgc.components.kge.negatives.samples import Batch, ScoredBlock
from mmkgc.components.kge.regularizers import REGULARIZERS
from mmkgc.components.kge.sharded_rows import ShardedRows
from mmkgc.components.kge.tensors import total
from mmkgc.components.kge.warm_start import begin_from
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.progress import Meter
from mmkgc.components.train import checkpoint, precision, shards
from mmkgc.components.train.averaging import Average
from mmkgc.components.train.compilation import compiled
from mmkgc.components.train.config import TrainConfig
from mmkgc.components.train.distributed import Group, own_device
from mmkgc.components.train.forecast import Forecast
from mmkgc.components.train.optimizers import go_on_with, make_optimizer, make_schedule
from mmkgc.components.train.optimizers.clipping import clip_gradients
from mmkgc.components.train.optimizers.row_adagrad import EPSILON
from mmkgc.components.train.optimizers.row_sparse import RowSparse
from mmkgc.components.train.selection import Selection

log = logging.getLogger(__name__)

OnEpoch = Callable[[int, dict[str, float]], None]
CHECKPOINT_SECONDS = 20.0
INSPECTED = 512  # train triples for which negatives are inspected after training


class Trainer:
    """Trains one model on one graph; ``fit`` returns the model with the best development MRR (or the last one).

    Triples, sampler and filter are on the device. With ``checkpoint_path``, a killed run that is started again
    continues after its last checkpoint; on the CPU its result is bitwise the same. ``last_epoch`` ends the training
    earlier than ``config.epochs``, for which the learning rate is scheduled. ``start``: an earlier model, with whose
    values this one begins; it counts as epoch 0, so that the training is never worse than it. Under ``torchrun`` each
    process takes its share of every batch; a continued run then draws other negatives.
    """

    def __init__(
        self,
        graph: Graph,
        features: Mapping[str, Features],
        config: TrainConfig,
        checkpoint_path: Path | None = None,
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
        last_epoch: int | None = None,
        start: Bundle | None = None,
    ) -> None:
        self.graph, self.config, self.last_epoch = graph, config, last_epoch or config.epochs
        self.checkpoint_path, self.checkpoint_seconds = checkpoint_path, checkpoint_seconds
        self.device = _device(config.device)
        self.dtype = precision.choose(config.precision, self.device)
        self.group = Group.join(self.device)
        self.shuffler = torch.Generator(self.device).manual_seed(config.seed)
        self.draws = torch.Generator(self.device).manual_seed(config.seed + self.group.rank)
        torch.manual_seed(config.seed)
        self._place_graph()
        self._build(features, start)
        torch.manual_seed(config.seed + self.group.rank)

    def _place_graph(self) -> None:
        graph, sizes = self.graph, (len(self.graph.entities), len(self.graph.relations))
        self.triples = graph.train.to(self.device)
        self.train_known = KnownTriples(self.triples, *sizes)
        self.dev = graph.valid.to(self.device)
        self.compared = _sample(self.dev, self.config.dev_sample, self.config.seed)
        self.dev_known = KnownTriples(graph.selection_triples.to(self.device), *sizes)
        ones = torch.ones(len(self.triples), device=self.device)
        self.weights = _subsampling(self.triples, sizes[1]) if self.config.subsampling else ones
        if graph.confidence is not None:
            self.weights = self.weights * graph.confidence.to(self.device)
        learns_false = len(graph.false) > 0 and self.config.known_false > 0
        self.false = KnownTriples(graph.false.to(self.device), *sizes) if learns_false else None
        self.loss = LOSSES.create(self.config.loss)
        loss = self.loss
        self.queries = QueryGroups(self.triples, sizes[1], loss.answers) if isinstance(loss, GroupedLoss) else None
        self.batches = ceil(len(self.queries or self.triples) / self.config.batch_size)

    def _build(self, features: Mapping[str, Features], start: Bundle | None) -> None:
        config, graph = self.config, self.graph
        used = {m: table for m, table in features.items() if config.uses(m)}
        seen = torch.zeros(len(graph.entities), dtype=torch.bool)
        seen[graph.train[:, [HEAD, TAIL]].flatten()] = True
        model = Model(config.model, len(graph.relations), used, seen, graph.train)
        if told := config.caution():
            log.warning(told)
        begun = begin_from(model, graph, start) if start else None
        self.growth = begun.growth if begun else None
        self.model = model.to(self.device)
        self.losses = compiled(batch_losses, config.compile, self.device)
        self.regularizer = REGULARIZERS.create(config.regularizer) if config.regularizer else None
        context = Context(self.model, graph, self.train_known, self.draws, self.loss, used)
        self.sampler = SAMPLERS.create(config.negatives, context).to(self.device) if config.negatives else None
        self.shards = self._divided()
        self.parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = make_optimizer(config.optimizer, self.parameters)
        if begun:
            go_on_with(begun.squares, self.optimizer, self.model)
        self.model.entities.sparse = isinstance(self.optimizer, RowSparse) and self.shards is None
        if self.model.entities.sparse and self.group.size > 1:
            what = f"'{config.optimizer.name}' works in one process, and there are {self.group.size}"
            mend = "start one process, set model.encoder: sharded, or choose adagrad or adam"
            raise UserError("train.optimizer.name", what, mend)
        self.schedule = make_schedule(config.optimizer, self.optimizer, self.batches * config.epochs)
        self.scored: list[ScoredBlock] = []  # of the last batch
        self.average = Average(self.model, config.ema) if config.ema else None
        self.selection = Selection(config.patience if config.keep == "best" else None)

    def _divided(self) -> ShardedRows | None:
        """The table of entities divided among several processes; None if it is not."""
        if self.group.size == 1 or not isinstance(self.model.entities, Sharded):
            return None
        return self.model.entities.distribute(self.config.optimizer.lr, EPSILON)

    def fit(self, on_epoch: OnEpoch = lambda epoch, metrics: None) -> Model:
        """Train to the end; ``on_epoch`` gets the metrics of each epoch (from 1). Raises ``UserError`` on NaN."""
        self._resume()
        meter = Meter("train", self.last_epoch * self.batches, "batch", self.selection.epoch * self.batches)
        self.forecast = Forecast(self.batches, self.last_epoch - self.selection.epoch)
        saved = time.monotonic()
        if self.growth and not self.selection.epoch:
            on_epoch(0, self._measure())
        while self.selection.epoch < self.last_epoch and not self.selection.gives_up:
            metrics = self._run_epoch(meter)
            on_epoch(self.selection.epoch, metrics)
            due = time.monotonic() - saved >= self.checkpoint_seconds
            if self.group.told(due) if self.shards else due:
                self._save()
                saved = time.monotonic()
        meter.finish()
        final = self.average.weights if self.average else {}
        best = self.selection.best_state if self.config.keep == "best" else None
        self.model.load_state_dict(best or final, strict=False)
        if isinstance(self.model.entities, Sharded):
            self.model.entities.collect()
        if len(self.dev):
            self.model.freeze().fusion.fit(self._score_terms, self.dev)
        return self.model.freeze()

    @torch.no_grad()
    def _score_terms(self, triples: Tensor, side: Side) -> list[Tensor]:
        """Each term's scores ``[V, N]`` of all entities on a side of ``triples[V, 3]``, without its weight."""
        heads, relations, tails = triples.unbind(1)
        known, everyone = heads if side == "tail" else tails, self.model.everyone()
        terms = [replace(term, weight=1.0) for term in self.model.fusion.terms]
        return [self.model.score_all(everyone, known, relations, side, (term,)) for term in terms]

    def _run_epoch(self, meter: Meter) -> dict[str, float]:
        begun, epoch = time.monotonic(), self.selection.epoch
        self.model.train()
        self.model.fusion.begin_epoch(epoch, self.config.epochs, self.model.entities)
        if self.sampler:
            self.sampler.begin_epoch(epoch, self.config.epochs)
        sums: dict[str, Tensor] = {}
        for number, rows in enumerate(self.shuffled(), start=1):
            losses = self.step(rows)
            if not total(losses.values()).isfinite():
                self._stop(f"epoch {epoch + 1}, batch {number} of {self.batches}", rows, losses)
            for name, loss in losses.items():
                sums[name] = sums.get(name, 0) + loss.double()
            meter.advance(note=str(self.selection))
            self.forecast.note()
        self.selection.epoch = epoch + 1
        metrics = {f"loss_{name}": loss.item() / self.batches for name, loss in sums.items()}
        metrics |= {"loss": sum(metrics.values())}
        metrics |= {"triples_per_second": len(self.triples) / (time.monotonic() - begun)} | hardness(self.scored)
        return metrics | (self.sampler.metrics() if self.sampler else {}) | self._measure()

    def shuffled(self) -> Iterator[Tensor]:
        """Rows of the triples of each batch; of directed triples where the loss is one of queries."""
        if self.queries:
            return self.queries.batches(self.config.batch_size, self.shuffler)
        order = torch.randperm(len(self.triples), generator=self.shuffler, device=self.device)
        return iter(order.split(self.config.batch_size))

    def step(self, rows: Tensor) -> dict[str, Tensor]:
        """Make one step of model and sampler on the batch at ``rows``; return the losses, detached."""
        mine = self.group.share(rows)
        batch = self._batch(mine)
        self.optimizer.zero_grad()
        if self.shards:
            self.shards.set_learning_rate(self.optimizer.param_groups[0]["lr"])
        losses, scored = BatchLosses({"empty": torch.zeros((), device=self.device)}, [])
        if len(mine):
            blocks = self.sampler.sample(batch, self.model) if self.sampler else []
            with precision.autocast(self.dtype, self.device):
                losses, scored = self.losses(
                    self.model,
                    batch,
                    blocks,
                    self.loss,
                    self.train_known,
                    self.regularizer,
                    self.sampler,
                    self.config.relation_prediction,
                    self.false,
                    self.config.known_false,
                )
            (total(losses.values()) * (batch.weight.sum() / self._batch(rows).weight.sum())).backward()
        elif self.shards:  # the others exchange vectors with this process
            self.shards.read(mine).sum().backward()
        self.group.sum_gradients(self.parameters)
        if self.config.optimizer.clip:
            clip_gradients(self.parameters, self.config.optimizer.clip)
        self.optimizer.step()
        self.schedule.step()
        if self.average:
            self.average.update(self.model)
        if self.sampler:
            if len(mine):
                self.sampler.update(batch, scored, self.model)
            self.group.average(list(self.sampler.parameters()))
            self.group.copy([self.sampler.get_buffer(name) for name in self.sampler.synchronised])
        self.scored = scored
        return {name: loss.detach() for name, loss in losses.items()}

    def look_at_negatives(self) -> dict[str, Any] | None:
        """Negatives of the trained sampler for some train triples (see ``inspect``); None without a sampler.

        The model is that of the chosen epoch, the sampler that of the last.
        """
        if self.sampler is None:
            return None
        rows = torch.randperm(len(self.triples), generator=torch.Generator().manual_seed(self.config.seed))
        sizes = len(self.graph.entities), len(self.graph.relations)
        held_out = KnownTriples(self.dev, *sizes)
        return inspect(self.sampler, self.model, self.triples[rows[:INSPECTED].to(self.device)], held_out)

    def _batch(self, rows: Tensor) -> Batch:
        """The triples at ``rows``; rows of directed triples ask for one side each."""
        if self.queries is None:
            return Batch(self.triples[rows], self.weights[rows])
        size = len(self.triples)
        return Batch(self.triples[rows % size], self.weights[rows % size], rows >= size)

    def _measure(self) -> dict[str, float]:
        """Measure the development MRR in the epochs in which it is due."""
        epoch = self.selection.epoch
        if not len(self.dev) or (epoch % self.config.evaluate_every and epoch != self.last_epoch):
            return {}
        with self.average.applied(self.model) if self.average else nullcontext():
            value = mrr(rank(self.model, self.compared, self.dev_known))
            done = epoch - 1, self.config.epochs
            if self.model.fusion.selectable(*done) and (not self.sampler or self.sampler.selectable(*done)):
                self.selection.note(value, self.model.state_dict())
        return {"dev_mrr": value}

    def _stop(self, where: str, rows: Tensor, losses: Mapping[str, Tensor]) -> None:
        head, relation, tail = self.triples[rows[0] % len(self.triples)].tolist()
        names = self.graph.entities.names[head], self.graph.relations.names[relation], self.graph.entities.names[tail]
        culprits = [f"{name} loss is {loss.item()}" for name, loss in losses.items() if not loss.isfinite()]
        raise UserError(
            f"train: {where} (its first triple: {', '.join(names)})",
            f"the {' and the '.join(culprits)}",
            "lower optimizer.lr, or set optimizer.clip",
        )

    def _save(self) -> None:
        if not self.checkpoint_path or not (self.group.is_main or self.shards):
            return
        state = {name: part.state_dict() for name, part in self._parts().items()}
        state |= {"selection": vars(self.selection), "random": checkpoint.random_state(self.draws, self.shuffler)}
        if self.shards:
            shards.save(self.checkpoint_path, state, self.selection.epoch, self.group)
        else:
            checkpoint.save(self.checkpoint_path, state)

    def _resume(self) -> None:
        if self.checkpoint_path and self.shards:
            state = shards.load(self.checkpoint_path, self.device, len(self.graph.entities), self.group)
        else:
            state = checkpoint.load(self.checkpoint_path, self.device) if self.checkpoint_path else None
        if state is None:
            return
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.selection = Selection(**state["selection"])
        checkpoint.restore_random_state(state["random"], self.draws, self.shuffler)
        if not self.group.is_main:  # must not draw the main process's negatives
            self.draws.manual_seed(hash((self.config.seed, self.group.rank, self.selection.epoch)))
        print(f"train resumes after epoch {self.selection.epoch} of {self.last_epoch}", flush=True)

    def _parts(self) -> dict[str, Any]:
        """All parts with a state, by name."""
        parts = {"model": self.model, "optimizer": self.optimizer, "schedule": self.schedule, "average": self.average}
        parts |= {"rows": self.shards}
        if self.sampler:
            parts |= {"sampler": self.sampler}
            parts |= {f"sampler_{name}": optimizer for name, optimizer in self.sampler.optimizers.items()}
        return {name: part for name, part in parts.items() if part is not None}


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("train.device", "this machine has no CUDA device", "set device: auto")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return own_device(name)


def _sample(triples: Tensor, count: int | None, seed: int) -> Tensor:
    """At most ``count`` of ``triples[V, 3]``, chosen by ``seed``; all where it is None."""
    if count is None or count >= len(triples):
        return triples
    chosen = torch.randperm(len(triples), generator=torch.Generator().manual_seed(seed))[:count]
    return triples[chosen.to(triples.device)]


def _subsampling(triples: Tensor, n_relations: int) -> Tensor:
    """1/√(#(h, r) + #(r, t) + 6) ``[T]``: the first occurrence of a pair counts 4 in the RotatE code."""
    heads, relations, tails = triples[:, HEAD], triples[:, RELATION], triples[:, TAIL]
    codes = [entities * n_relations + relations for entities in (heads, tails)]
    counts = [torch.unique(code, return_inverse=True, return_counts=True) for code in codes]
    return total(count[inverse] for _, inverse, count in counts).add(6).float().rsqrt()
