"""MoSE-MI."""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from mmkgc.components.kge.fusions.base import ScoreTerms, Space, Term
from mmkgc.components.kge.fusions.mose import MoSE, development


class MoSEMI(MoSE):
    """MoSE with meta inference: after training, a small network learns to combine the modalities' scores.

    Zhao et al. 2022 (MoSE-MI) train a meta-learner on the development split. Here s = mean_m s_m + MLP(z), z the
    modalities' scores of one triple, standardised by their mean and deviation on that split; one hidden layer, cross
    entropy of the answer against drawn entities. The last layer is initialised with zeros, so that before fitting, and
    without a development split, this is MoSE's average. The paper's exact network was not available.
    """

    fitted = ("meta.", "mean", "deviation")

    def __init__(
        self,
        space: Space,
        *,
        hidden: Annotated[int, Field(gt=0, description="width of the hidden layer")] = 16,
        candidates: Annotated[int, Field(gt=0, description="entities to compare each development answer with")] = 64,
        steps: Annotated[int, Field(gt=0, description="steps of Adam on the whole development split")] = 100,
        lr: Annotated[float, Field(gt=0, description="learning rate")] = 0.01,
    ) -> None:
        super().__init__(space)
        self.candidates, self.steps, self.lr = candidates, steps, lr
        count = len(space.modalities)
        last = nn.Linear(hidden, 1)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        self.meta = nn.Sequential(nn.Linear(count, hidden), nn.ReLU(), last)
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("deviation", torch.ones(count))

    def combine(self, terms: Sequence[Term], scores: Sequence[Tensor], relations: Tensor) -> Tensor:
        if self.training or tuple(terms) != self.terms:
            return super().combine(terms, scores, relations)
        return self._together(torch.stack(tuple(scores), dim=-1))

    @torch.enable_grad()
    def fit(self, score_terms: ScoreTerms, triples: Tensor) -> None:
        scores = development(score_terms, triples, self.candidates).scores.to(self.mean)
        self.mean.copy_(scores.mean((0, 1)))
        self.deviation.copy_(scores.std((0, 1)).clamp(min=1e-6))
        optimizer = torch.optim.Adam(self.meta.parameters(), lr=self.lr)
        for _ in range(self.steps):
            loss = -self._together(scores).log_softmax(1)[:, 0].mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        optimizer.zero_grad()

    def _together(self, scores: Tensor) -> Tensor:
        """One score ``[...]`` of ``scores[..., M]``."""
        return scores.mean(-1) + self.meta((scores - self.mean) / self.deviation).squeeze(-1)
