"""IGAN: a generator over all entities."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from mmkgc.components.kge.interactions.base import Side
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.negatives.base import Context, NegativeSampler
from mmkgc.components.kge.negatives.corruption import Corruption, Count, Sides
from mmkgc.components.kge.negatives.samples import Batch, EntityNegatives, NegativeBlock, ScoredBlock

NEVER = -1e9  # logit of a train positive; finite, so that draws are uniform if every entity is an answer


class IGAN(NegativeSampler):
    """Negatives drawn from all entities by a network, which is rewarded for high scores by the model.

    Wang et al. 2018. Two fully connected layers map vectors of the kept entity and the relation to a logit for each
    of the N entities. The reward of a draw is its score by the model, less the mean reward of the batch; the generator
    follows the policy gradient (REINFORCE). Train positives are never drawn. The paper draws one negative
    (``count: 1``); its sizes and pretraining were not available, so the generator is trained together with the
    model from the start. Unlike KBGAN, no candidates are drawn first.

    Memory: 4 · hidden · N bytes of weights (three times that with Adam's state), and about 12 · N per positive of a
    batch.
    """

    def __init__(
        self,
        context: Context,
        *,
        count: Count = 1,
        sides: Sides = "bernoulli",
        dimension: Annotated[int, Field(gt=0, le=65_536, description="of the generator's vectors")] = 50,
        hidden: Annotated[int, Field(gt=0, le=65_536, description="width of the generator's hidden layer")] = 50,
        lr: Annotated[float, Field(gt=0, description="learning rate of the generator")] = 1e-3,
    ) -> None:
        super().__init__()
        self.count, self.corruption, self.random = count, Corruption(context, sides), context.generator
        n_entities, n_relations = context.n_entities, len(context.graph.relations)
        self.generator = _Generator(n_entities, n_relations, dimension, hidden).to(self.random.device)
        self.optimizer = torch.optim.Adam(self.generator.parameters(), lr=lr)
        self.log_probabilities: list[Tensor] = []
        self.rewards: list[Tensor] = []  # mean of each batch

    @property
    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        return {"generator": self.optimizer}

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        self.rewards = []

    def metrics(self) -> dict[str, float]:
        """Mean reward of the epoch, from the model's scores of the generator's negatives."""
        return {"igan_reward": torch.stack(self.rewards).mean().item()} if self.rewards else {}

    def sample(self, batch: Batch, model: Model) -> list[NegativeBlock]:
        blocks, self.log_probabilities = [], []
        for rows, side in self.corruption.sides(batch):
            heads, relations, tails = batch.triples[rows].unbind(1)
            known = heads if side == "tail" else tails
            positives = self.corruption.train.answers(known, relations, side)
            log_probability = self.generator(known, relations, side, positives)
            drawn = self._draw(log_probability.detach().exp())
            self.log_probabilities.append(log_probability.gather(1, drawn))
            blocks.append(NegativeBlock.of(rows, side, EntityNegatives(drawn)))
        return blocks

    def update(self, batch: Batch, scored: Sequence[ScoredBlock], model: Model) -> None:
        """The generator's step: −(reward − mean reward) log p of what it drew."""
        reward = torch.cat([block.negative for block in scored])
        log_probability = torch.cat(self.log_probabilities)
        self.rewards.append(reward.mean())
        self.optimizer.zero_grad()
        (-(reward - self.rewards[-1]) * log_probability).mean().backward()
        self.optimizer.step()
        self.log_probabilities = []

    def _draw(self, probability: Tensor) -> Tensor:
        """``count`` entities of each row of ``probability[b, N]``."""
        return torch.multinomial(probability, self.count, replacement=True, generator=self.random)


class _Generator(nn.Module):
    """W₂ ReLU(W₁ [e; r]), with its own vectors; head and tail queries have separate relation vectors."""

    def __init__(self, n_entities: int, n_relations: int, dimension: int, hidden: int) -> None:
        super().__init__()
        self.n_relations = n_relations
        self.entities, self.relations = (
            nn.Parameter(nn.init.xavier_uniform_(torch.empty(rows, dimension)))
            for rows in (n_entities, 2 * n_relations)
        )
        self.layers = nn.Sequential(nn.Linear(2 * dimension, hidden), nn.ReLU(), nn.Linear(hidden, n_entities))

    def forward(self, known: Tensor, relations: Tensor, side: Side, positives: tuple[Tensor, Tensor]) -> Tensor:
        """Log-probabilities ``[b, N]`` of all entities; those of ``positives`` (row, entity) are never drawn."""
        query = self.relations[relations if side == "tail" else relations + self.n_relations]
        logits = self.layers(torch.cat([self.entities[known], query], dim=1))
        return logits.index_put(positives, logits.new_tensor(NEVER)).log_softmax(-1)
