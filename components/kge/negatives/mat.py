"""MAT, the modality-adversarial training of AdaMF-MAT."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from components.kge.entities import STRUCTURE, Modal
from components.kge.fusions.base import Fusion
from components.kge.graph import HEAD, TAIL
from components.kge.interactions.base import Interaction
from components.kge.kernels.rows import take
from components.kge.negatives.base import Batch, Block, Context, Real, Strategy, Virtual
from components.kge.negatives.corruption import Corruption, Count, Sides
from components.kge.objectives.base import NegativeObjective
from components.kge.tensors import total

if TYPE_CHECKING:
    from components.kge.model import Model
    from components.kge.pool import Pool

Fake = Literal["head", "tail", "both"]


class MAT(Strategy):
    """Normal negatives, and adversarial entities whose image and text a generator makes from their structure.

    Zhang et al. 2024 (AdaMF-MAT), eq. 9–13: e_m* = G_m(e_s, z); the triples (h*, r, t), (h, r, t*), (h*, r, t*) are
    negatives, each a loss term with the positive, weighted λ, for L groups of noise; then the generators step on the
    same losses with the places of fake and true triple exchanged, the true entities' features as they were projected
    for the model's step. As in the released code e_s gets gradients from the model's step and none from the
    generators', and each term carries the objective's ½, which eq. 12–13 lack. The shipped scripts set λ = 0, which
    switches everything off here.
    """

    optimizer: torch.optim.Optimizer

    def __init__(
        self,
        context: Context,
        *,
        count: Count = 64,
        sides: Sides = "bernoulli",
        weight: Annotated[float, Field(ge=0, description="λ of the adversarial terms")] = 0.01,
        groups: Annotated[int, Field(gt=0, description="L, fakes of each kind for a positive")] = 1,
        fakes: Annotated[tuple[Fake, ...], Field(description="which sides are replaced (ablation)")] = (
            "head",
            "tail",
            "both",
        ),
        noise: Annotated[int, Field(gt=0, description="width of z")] = 64,
        hidden: Annotated[int, Field(gt=0, description="width of the generators' hidden layer")] = 512,
        lr: Annotated[float, Field(gt=0, description="learning rate of the generators")] = 1e-4,
    ) -> None:
        super().__init__()
        self.count, self.corruption = count, Corruption(context, sides)
        self.weight, self.groups, self.fakes, self.noise = weight, groups, fakes, noise
        self.objective, self.random = context.objective, context.generator
        width = context.model.fusion.width
        features = [m for m in context.model.entities.modalities if m != STRUCTURE]
        self.generators = nn.ModuleDict({m: _generator(width, noise, hidden) for m in features})
        self.generators.to(self.random.device).requires_grad_(False)  # the model's loss is not theirs
        self.optimizer = torch.optim.Adam(self.generators.parameters(), lr=lr, fused=True)
        self.pool: Pool | None = None

    @classmethod
    def refusal(cls, fusion: Fusion, interaction: Interaction) -> str | None:
        if fusion.modalities == (STRUCTURE,):
            return "the fusion uses structure alone, so there is no image or text to generate"
        return None

    def sample(self, batch: Batch, model: "Model") -> list[Block]:
        return [Block.of(rows, side, Real(ids)) for rows, side, ids in self.corruption(batch, self.count)]

    def refine(self, batch: Batch, blocks: list[Block], pool: "Pool", model: "Model") -> list[Block]:
        if not self.weight:
            return blocks
        self.pool = pool.detach()
        return blocks + self._fake_blocks(batch, model.entities.structure)

    def update(self, batch: Batch, blocks: list[Block], model: "Model") -> None:
        """The generators' step: make the fake triples score well."""
        if not self.weight:
            return
        assert isinstance(self.objective, NegativeObjective)
        assert self.pool
        self.generators.requires_grad_(True)
        losses = []
        for block in self._fake_blocks(batch, model.entities.structure.detach()):
            true, fake = model.score_blocks(self.pool, batch.triples, [block])
            losses.append(self.objective.loss(fake.squeeze(1), true.detach().unsqueeze(1)).mean())
        parameters = list(self.generators.parameters())
        gradients = torch.autograd.grad(total(losses), parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()
        self.generators.requires_grad_(False)
        self.pool = None

    def _fake_blocks(self, batch: Batch, structure: Tensor) -> list[Block]:
        """(h*, r, t), (h, r, t*) and (h*, r, t*) of each positive, L times, from structural vectors ``[N, e]``."""
        rows = torch.arange(len(batch), device=structure.device).repeat(self.groups)
        head, tail = self._virtual_pair(take(structure, batch.triples[rows][:, [HEAD, TAIL]].T))
        replaced = {"head": (head, None), "tail": (None, tail), "both": (head, tail)}
        return [Block(rows, *replaced[kind], name="adversarial", weight=self.weight) for kind in self.fakes]

    def _virtual_pair(self, structure: Tensor) -> Sequence[Virtual]:
        """Heads and tails ``[b, 1]`` with the given structure ``[2, b, e]`` and generated features."""
        vectors = {STRUCTURE: structure}
        for m, generator in self.generators.items():
            noise = torch.randn(*structure.shape[:2], self.noise, generator=self.random, device=structure.device)
            vectors[m] = generator(torch.cat([noise, structure], dim=-1))
        present = dict.fromkeys(vectors, torch.ones(structure.shape[1], 1, dtype=torch.bool, device=structure.device))
        return [Virtual(Modal({m: both[side].unsqueeze(1) for m, both in vectors.items()}, present)) for side in (0, 1)]


def _generator(width: int, noise: int, hidden: int) -> nn.Module:
    """G(e_s, z) = W₂ LeakyReLU(W₁ [z; e_s]), eq. 9."""
    return nn.Sequential(nn.Linear(noise + width, hidden), nn.LeakyReLU(), nn.Linear(hidden, width))
