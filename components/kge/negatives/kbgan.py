"""KBGAN: adversarial negative sampling."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mmkgc.components.kge.graph import HEAD, RELATION, TAIL
from mmkgc.components.kge.interactions.base import Side
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.negatives.base import Context, NegativeSampler
from mmkgc.components.kge.negatives.corruption import Corruption, Count, Sides
from mmkgc.components.kge.negatives.samples import Batch, EntityNegatives, NegativeBlock, ScoredBlock

PRETRAIN_BATCH = 1024


class KBGAN(NegativeSampler):
    """Negatives picked by a small DistMult generator, which is rewarded for high scores by the model.

    Cai & Wang 2018, Algorithm 1. Of ``candidates`` Bernoulli negatives the generator draws K by the softmax of its
    scores. The reward of a draw is its score by the model (the paper's −D), minus the mean reward of the previous
    epoch; the generator follows the policy gradient (REINFORCE, eq. 6). As in the released code it is first trained
    alone, here by the cross-entropy of the positive against its candidates. A drawn negative that is true but not in
    train is rewarded too. The paper draws one negative (``count: 1``).
    """

    synchronised = ("baseline",)

    def __init__(
        self,
        context: Context,
        *,
        count: Count = 1,
        sides: Sides = "bernoulli",
        candidates: Annotated[int, Field(gt=1, description="negatives from which the generator draws, Nₛ")] = 20,
        dimension: Annotated[int, Field(gt=0, description="of the generator's vectors")] = 50,
        pretrain: Annotated[int, Field(ge=0, description="epochs in which the generator is trained alone")] = 2,
        lr: Annotated[float, Field(gt=0, description="learning rate of the generator")] = 1e-3,
    ) -> None:
        super().__init__()
        self.count, self.candidates, self.pretrain = count, candidates, pretrain
        self.corruption, self.random = Corruption(context, sides), context.generator
        self.triples = context.graph.train.to(self.random.device)
        self.generator = _DistMult(context.n_entities, len(context.graph.relations), dimension).to(self.random.device)
        self.optimizer = torch.optim.Adam(self.generator.parameters(), lr=lr)
        self.baseline: Tensor
        self.register_buffer("baseline", torch.zeros(3))  # mean of the previous epoch; sum and number in this one
        self.drawn: list[tuple[Tensor, Side, Tensor, Tensor]] = []

    @property
    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        return {"generator": self.optimizer}

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        if epoch == 0:
            for _ in range(self.pretrain):
                self._pretrain()
        _, reward, number = self.baseline.tolist()
        self.baseline.copy_(torch.tensor([reward / number if number else 0.0, 0.0, 0.0]))

    def metrics(self) -> dict[str, float]:
        """Mean reward of the epoch, from the model's scores of the generator's negatives."""
        _, reward, number = self.baseline.tolist()
        return {"kbgan_reward": reward / number} if number else {}

    def sample(self, batch: Batch, model: Model) -> list[NegativeBlock]:
        blocks, self.drawn = [], []
        for rows, side, ids in self.corruption(batch, self.candidates):
            triples = batch.triples[rows]
            with torch.no_grad():
                probability = self.generator(triples, side, ids).softmax(-1)
            chosen = torch.multinomial(probability, self.count, replacement=True, generator=self.random)
            self.drawn.append((triples, side, ids, chosen))
            blocks.append(NegativeBlock.of(rows, side, EntityNegatives(ids.gather(1, chosen))))
        return blocks

    def update(self, batch: Batch, scored: Sequence[ScoredBlock], model: Model) -> None:
        """The generator's step: −(reward − baseline) log p of what it drew."""
        losses = []
        for (triples, side, ids, chosen), (_, _, reward) in zip(self.drawn, scored, strict=True):
            log_probability = self.generator(triples, side, ids).log_softmax(-1).gather(1, chosen)
            losses.append(-((reward - self.baseline[0]) * log_probability).sum())
            self.baseline[1] += reward.sum()
            self.baseline[2] += reward.numel()
        self._step(torch.stack(losses).sum() / (len(batch) * self.count))
        self.drawn = []

    def _pretrain(self) -> None:
        """Train only the generator for one epoch: the positive against its candidates."""
        device = self.random.device
        order = torch.randperm(len(self.triples), generator=self.random, device=device)
        for rows in order.split(PRETRAIN_BATCH):
            batch = Batch(self.triples[rows], torch.ones(len(rows), device=device))
            losses = []
            for own, side, ids in self.corruption(batch, self.candidates):
                triples = batch.triples[own]
                gold = triples[:, [HEAD if side == "head" else TAIL]]
                scores = self.generator(triples, side, torch.cat([gold, ids], dim=1))
                losses.append(cross_entropy(scores, torch.zeros_like(own), reduction="sum"))
            self._step(torch.stack(losses).sum() / len(rows))

    def _step(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


class _DistMult(nn.Module):
    """The generator: DistMult with its own vectors."""

    def __init__(self, n_entities: int, n_relations: int, dimension: int) -> None:
        super().__init__()
        self.entities, self.relations = (
            nn.Parameter(nn.init.xavier_uniform_(torch.empty(rows, dimension))) for rows in (n_entities, n_relations)
        )

    def forward(self, triples: Tensor, side: Side, ids: Tensor) -> Tensor:
        """Scores ``[B, K]`` of ``ids[B, K]`` on a side of ``triples[B, 3]``."""
        known = self.entities[triples[:, HEAD if side == "tail" else TAIL]]
        query = known * self.relations[triples[:, RELATION]]
        return torch.einsum("bd,bkd->bk", query, self.entities[ids])
