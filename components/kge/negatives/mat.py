"""MAT, the modality-adversarial training of AdaMF-MAT."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mmkgc.components.kge.encoded_entities import EncodedEntities
from mmkgc.components.kge.entity_encoders.base import STRUCTURE, ModalityEmbeddings
from mmkgc.components.kge.fusions.base import Fusion
from mmkgc.components.kge.graph import HEAD, TAIL
from mmkgc.components.kge.interactions.base import Interaction
from mmkgc.components.kge.kernels.rows import take
from mmkgc.components.kge.losses.base import NegativeLoss
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.negatives.base import Context, NegativeSampler
from mmkgc.components.kge.negatives.corruption import Corruption, Count, Sides
from mmkgc.components.kge.negatives.samples import (
    Batch,
    GeneratedNegatives,
    NegativeBlock,
    ScoredBlock,
)
from mmkgc.components.kge.negatives.scoring import score_blocks

Fake = Literal["head", "tail", "both"]


class MAT(NegativeSampler):
    """Normal negatives, and adversarial entities whose image and text are generated from their structure.

    Zhang et al. 2024 (AdaMF-MAT), eq. 9–13: e_m* = G_m(e_s, z); the triples (h*, r, t), (h, r, t*), (h*, r, t*) are
    negatives, each a loss term with the positive, weighted λ and averaged over L groups of noise (eq. 10); then the
    generators step on the same losses with fake and true triples exchanged. That step reuses the vectors, true and
    generated, of the model's step, whereas the released code draws and generates again. As there, e_s gets gradients
    from the model's step and none from the generators', and each term has the loss's factor ½, which eq. 12–13 lack.
    The released scripts set λ = 0, which disables the adversarial terms here.
    """

    def __init__(
        self,
        context: Context,
        *,
        count: Count = 64,
        sides: Sides = "bernoulli",
        weight: Annotated[float, Field(ge=0, description="λ of the adversarial terms")] = 0.01,
        groups: Annotated[int, Field(gt=0, le=1024, description="L, fakes of each kind for a positive")] = 1,
        fakes: Annotated[tuple[Fake, ...], Field(description="which sides are replaced (ablation)")] = (
            "head",
            "tail",
            "both",
        ),
        noise: Annotated[int, Field(gt=0, le=65_536, description="width of z")] = 64,
        hidden: Annotated[int, Field(gt=0, le=65_536, description="width of the generators' hidden layer")] = 512,
        lr: Annotated[float, Field(gt=0, description="learning rate of the generators")] = 1e-4,
    ) -> None:
        super().__init__()
        self.count, self.corruption = count, Corruption(context, sides)
        self.weight, self.groups, self.fakes, self.noise = weight, groups, fakes, noise
        self.loss, self.random = context.loss, context.generator
        width = context.model.fusion.width
        features = [m for m in context.model.entities.modalities if m != STRUCTURE]
        self.generators = nn.ModuleDict({m: _generator(width, noise, hidden) for m in features})
        self.generators.to(self.random.device)
        self.optimizer = torch.optim.Adam(self.generators.parameters(), lr=lr, fused=True)
        self.encoded: EncodedEntities | None = None
        self.made: list[NegativeBlock] = []

    @classmethod
    def incompatibility(cls, fusion: Fusion, interaction: Interaction) -> str | None:
        if STRUCTURE not in fusion.modalities:
            return "it generates image and text from an entity's structure; set model.structure: true"
        if fusion.unprojected:
            return "it makes vectors of the entities' width, but this fusion takes raw features"
        if fusion.modalities == (STRUCTURE,):
            return "the fusion uses structure alone, so there is no image or text to generate"
        return None

    @property
    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        return {"generators": self.optimizer}

    def sample(self, batch: Batch, model: Model) -> list[NegativeBlock]:
        return self.corruption.blocks(batch, self.count)

    def refine(
        self, batch: Batch, blocks: list[NegativeBlock], encoded: EncodedEntities, model: Model
    ) -> list[NegativeBlock]:
        if not self.weight:
            return blocks
        rows = torch.arange(len(batch), device=batch.triples.device).repeat(self.groups)
        structure = take(encoded.modal[STRUCTURE], encoded.index(batch.triples[rows][:, [HEAD, TAIL]].T))
        seen = structure.detach().requires_grad_()
        made = {m: self._generated(m, seen) for m in self.generators}
        pulls = {m: partial(torch.autograd.grad, vectors, seen, retain_graph=True) for m, vectors in made.items()}
        carried = {m: _Carried.apply(structure, vectors.detach(), pulls[m]) for m, vectors in made.items()}
        self.encoded, self.made = encoded.detach(), self._fake_blocks(rows, {STRUCTURE: seen.detach(), **made})
        return blocks + self._fake_blocks(rows, {STRUCTURE: structure, **carried})

    def update(self, batch: Batch, scored: Sequence[ScoredBlock], model: Model) -> None:
        """Make the generators' step, which raises the scores of the fake triples."""
        if not self.weight:
            return
        assert isinstance(self.loss, NegativeLoss)
        assert self.encoded
        true, fake = score_blocks(model, self.encoded, batch.triples, self.made)
        losses = self.loss(fake.squeeze(1), true.detach().unsqueeze(1))
        parameters = list(self.generators.parameters())
        gradients = torch.autograd.grad(losses.sum() / (len(batch) * self.groups), parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()
        self.encoded, self.made = None, []

    def _generated(self, modality: str, structure: Tensor) -> Tensor:
        """Features ``[2, b, e]`` of heads and tails with the given structure."""
        size = (*structure.shape[:2], self.noise)
        noise = torch.randn(size, generator=self.random, device=structure.device)
        made = self.generators[modality](torch.cat([noise, structure], dim=-1))
        return made.to(structure.dtype)  # the model's step may have half precision, unlike the generators'

    def _fake_blocks(self, rows: Tensor, vectors: dict[str, Tensor]) -> list[NegativeBlock]:
        """(h*, r, t), (h, r, t*) and (h*, r, t*) of the positives at ``rows[b]``, of modality vectors ``[2, b, e]``."""
        present = dict.fromkeys(vectors, torch.ones(len(rows), 1, dtype=torch.bool, device=rows.device))
        sides = zip(*(both.unsqueeze(2).unbind() for both in vectors.values()), strict=True)
        head, tail = (
            GeneratedNegatives(ModalityEmbeddings(dict(zip(vectors, parts, strict=True)), present)) for parts in sides
        )
        replaced = {"head": (head, None), "tail": (None, tail), "both": (head, tail)}
        return [
            NegativeBlock(rows, *replaced[kind], name="adversarial", weight=self.weight / self.groups)
            for kind in self.fakes
        ]


class _Carried(torch.autograd.Function):
    """Generated vectors as a function of ``structure``; ``pull`` maps their gradient to that of ``structure``.

    The generators' parameters get no gradient, and their graph is kept for their own step.
    """

    @staticmethod
    def forward(ctx: Any, structure: Tensor, vectors: Tensor, pull: Callable[[Tensor], tuple[Tensor]]) -> Tensor:
        ctx.pull = pull
        return vectors.view_as(vectors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return *ctx.pull(gradient), None, None


def _generator(width: int, noise: int, hidden: int) -> nn.Module:
    """G(e_s, z) = W₂ LeakyReLU(W₁ [z; e_s]), eq. 9."""
    return nn.Sequential(nn.Linear(noise + width, hidden), nn.LeakyReLU(), nn.Linear(hidden, width))
