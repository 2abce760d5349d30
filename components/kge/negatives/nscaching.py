"""NSCaching."""

from collections.abc import Iterable, Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from mmkgc.components.kge.encoded_entities import EncodedEntities
from mmkgc.components.kge.entity_encoders.base import STRUCTURE
from mmkgc.components.kge.interactions.base import Side
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.negatives.base import Context, NegativeSampler
from mmkgc.components.kge.negatives.corruption import Corruption, Count, Sides
from mmkgc.components.kge.negatives.samples import Batch, EntityNegatives, NegativeBlock, ScoredBlock
from mmkgc.components.kge.negatives.scoring import score_blocks


class NSCaching(NegativeSampler):
    """Negatives from a cache of hard ones for every training query, updated by the model's scores.

    Zhang et al. 2019, Algorithm 2 and 3. Each query (h, r, ?) and (?, r, t) of train caches N₁ entities. Negatives are
    drawn from the cache uniformly. Afterwards N₁ entities are kept, drawn from the N₁ cached and N₂ uniform ones
    without replacement with probability ∝ exp(score). The caches are those of the batch's corrupted sides; ``lazy``
    epochs pass between renewals. As in the released code, a cached entity may be a true answer, unless ``filtered``,
    which draws uniform negatives in its place. With several processes, the cache is that of the first.

    A batch's candidates are nearly all entities of a middle-sized graph, and projecting the features of so many would
    cost more than the training itself. So with features, candidates are scored with the entities' vectors at the
    beginning of the epoch (the paper: the current ones), which take the memory of all vectors once more.
    """

    synchronised = ("cache",)

    def __init__(
        self,
        context: Context,
        *,
        count: Count = 64,
        sides: Sides = "bernoulli",
        size: Annotated[int, Field(gt=0, description="entities a query caches, N₁")] = 30,
        candidates: Annotated[int, Field(gt=0, description="uniform entities that compete for the cache, N₂")] = 30,
        lazy: Annotated[int, Field(ge=0, description="epochs between two renewals of the cache")] = 0,
        filtered: Annotated[bool, Field(description="never a train positive")] = True,
    ) -> None:
        super().__init__()
        self.count, self.corruption, self.random = count, Corruption(context, sides), context.generator
        self.candidates, self.lazy, self.filtered = candidates, lazy, filtered
        self.n_relations, self.n_entities = len(context.graph.relations), context.n_entities
        triples = context.graph.train.to(self.random.device)
        self.codes = {side: torch.unique(self._code(triples, side)) for side in ("head", "tail")}
        rows, device = sum(len(codes) for codes in self.codes.values()), self.random.device
        self.cache: Tensor
        drawn = torch.randint(self.n_entities, (rows, size), generator=self.random, device=device, dtype=torch.int32)
        self.register_buffer("cache", drawn)
        self.competing: list[tuple[NegativeBlock, Tensor]] = []  # each side's candidates, and their rows of the cache
        self.encoded: EncodedEntities | None = None
        self.stored = tuple(context.model.entities.modalities) != (STRUCTURE,)  # score with vectors of the last epoch
        self.renews, self.renewed, self.seen = True, 0.0, 0

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        self.renews, self.renewed, self.seen = epoch % (self.lazy + 1) == 0, 0.0, 0
        self.encoded = None

    def metrics(self) -> dict[str, float]:
        """Share of a cache that its last renewal changed, mean over the epoch."""
        return {"nscaching_renewed": float(self.renewed) / self.seen} if self.seen else {}

    def sample(self, batch: Batch, model: Model) -> list[NegativeBlock]:
        blocks, self.competing = [], []
        if self.stored and self.renews and self.encoded is None:
            self.encoded = _everyone(model)
        for rows, side, uniform in self.corruption(batch, self.count):
            triples = batch.triples[rows]
            places = self._places(triples, side)
            cached = self.cache[places].long()
            blocks.append(NegativeBlock.of(rows, side, EntityNegatives(self._draw(triples, side, cached, uniform))))
            if self.renews:
                fresh = self._uniform(len(rows), self.candidates)
                competing = EntityNegatives(torch.cat([cached, fresh], dim=1))
                self.competing.append((NegativeBlock.of(rows, side, competing), places))
        return blocks

    def further_ids(self) -> Iterable[Tensor]:
        return () if self.stored else [_entities(block) for block, _ in self.competing]

    def refine(
        self, batch: Batch, blocks: list[NegativeBlock], encoded: EncodedEntities, model: Model
    ) -> list[NegativeBlock]:
        if self.renews and not self.stored:
            self.encoded = encoded.detach()
        return blocks

    @torch.no_grad()
    def update(self, batch: Batch, scored: Sequence[ScoredBlock], model: Model) -> None:
        """Renew the caches of the batch's queries; heads and tails are scored in one pass over the entities."""
        if self.competing:
            assert self.encoded
            blocks, places = zip(*self.competing, strict=True)
            _, scores = score_blocks(model, self.encoded, batch.triples, blocks)
            kept = self._importance_sample(scores, self.cache.shape[1])
            competing = torch.cat([_entities(block) for block in blocks])
            self.cache[torch.cat(places)] = competing.gather(1, kept).to(self.cache.dtype)
            self.renewed += (kept >= self.cache.shape[1]).float().sum().item() / self.cache.shape[1]
            self.seen += len(kept)
        self.competing = []

    def _draw(self, triples: Tensor, side: Side, cached: Tensor, uniform: Tensor) -> Tensor:
        """``count`` of each row's cached entities; ``uniform`` ones in place of train positives where filtered."""
        device = self.random.device
        columns = torch.randint(cached.shape[1], (len(cached), self.count), generator=self.random, device=device)
        drawn = cached.gather(1, columns)
        if self.filtered:
            positives = self.corruption.train.collisions(triples, side, drawn)
            drawn.view(-1)[positives] = uniform.flatten()[positives]
        return drawn

    def _importance_sample(self, scores: Tensor, count: int) -> Tensor:
        """Columns ``[B, count]`` drawn without replacement with probability ∝ exp(score): the Gumbel-top-k trick."""
        uniform = torch.rand(scores.shape, generator=self.random, device=scores.device).clamp(min=1e-20)
        return (scores.float() - (-uniform.log()).log()).topk(count).indices

    def _uniform(self, rows: int, count: int) -> Tensor:
        return torch.randint(self.n_entities, (rows, count), generator=self.random, device=self.random.device)

    def _code(self, triples: Tensor, side: Side) -> Tensor:
        """One number ``[B]`` for each query that asks for a side."""
        heads, relations, tails = triples.unbind(1)
        return (heads if side == "tail" else tails) * self.n_relations + relations

    def _places(self, triples: Tensor, side: Side) -> Tensor:
        """Rows ``[B]`` of the cache: those of head queries come first."""
        found = torch.searchsorted(self.codes[side], self._code(triples, side))
        return found if side == "head" else found + len(self.codes["head"])


@torch.no_grad()
def _everyone(model: Model) -> EncodedEntities:
    """All entities as evaluation sees them, in memory of their own, which training does not change."""
    training = model.training
    encoded = model.eval().encode()
    model.train(training)
    return EncodedEntities.restored(model.fusion, {name: part.clone() for name, part in encoded.tensors().items()})


def _entities(block: NegativeBlock) -> Tensor:
    replaced = block.tail if block.head is None else block.head
    assert isinstance(replaced, EntityNegatives)
    return replaced.ids
