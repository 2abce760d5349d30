"""DHNS: diffusion-based hierarchical negative sampling."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mmkgc.components.kge.diffusion import Denoiser, Schedule, full_chain, strided_chain
from mmkgc.components.kge.encoded_entities import EncodedEntities
from mmkgc.components.kge.entity_encoders.base import STRUCTURE, ModalityEmbeddings
from mmkgc.components.kge.fusions.base import Fusion, Term
from mmkgc.components.kge.interactions.base import Interaction, ProjectionInteraction, QueryInteraction
from mmkgc.components.kge.kernels.rows import take
from mmkgc.components.kge.losses.base import NegativeLoss
from mmkgc.components.kge.losses.hardness_adaptive import HardnessAdaptive
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.negatives.base import Context, NegativeSampler
from mmkgc.components.kge.negatives.corruption import Corruption, Count, Sides
from mmkgc.components.kge.negatives.samples import (
    Batch,
    GeneratedNegatives,
    NegativeBlock,
    ScoredBlock,
)
from mmkgc.components.kge.tensors import at_least_float32, total
from mmkgc.components.runtime.errors import UserError

Levels = Annotated[
    tuple[Annotated[float, Field(ge=0, le=1)], ...],
    Field(min_length=1, description="steps t as shares of T; default: the preset's"),
]
Margins = Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(description="factor of γ for each level")]
Weights = Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(description="weight of each level")]


@dataclass(frozen=True)
class Preset:
    """Settings in which the paper, its code and ours differ. ``levels``: steps t as shares of T, hard to easy."""

    levels: tuple[float, ...]
    margins: tuple[float, ...]
    weights: tuple[float, ...]
    schedule: Literal["cosine", "linear"]
    standardise: bool
    strided: bool
    squared: bool
    hidden: int
    share: float
    normalised: bool = False
    base: float = 10_000.0


LEVELS, MARGINS, WEIGHTS = (1 / 20, 1 / 10, 1 / 5, 1 / 2), (0.3, 0.5, 0.7, 0.9), (0.5, 1.0, 1.0, 0.5)
PRESETS = {
    "default": Preset(LEVELS, MARGINS, WEIGHTS, "cosine", True, True, True, 1, 0.25),
    "paper": Preset(LEVELS, MARGINS, WEIGHTS, "linear", False, False, True, 4, 1.0, True, 1000.0),
    "released": Preset(
        (0, 1 / 10, 1 / 8, 1 / 4, 1 / 2), (0.1, *MARGINS), (0.0, *WEIGHTS), "linear", False, False, False, 4, 1.0
    ),
}


@dataclass(frozen=True)
class Targets:
    """Targets of the chains of one modality, heads first, then tails: true vectors ``[2b, e]``.

    ``standard``: the same, standardised by the ``mean`` and ``deviation`` of each coordinate; ``conditions``: the query
    points ``[2b, e]`` of these targets, standardised by their own mean and deviation.
    """

    true: Tensor
    standard: Tensor
    mean: Tensor
    deviation: Tensor
    conditions: Tensor


class DHNS(NegativeSampler):
    """Normal negatives, and generated entities of graded hardness from a diffusion model of each modality.

    Niu & Zhang 2025 (DHNS). A denoiser learns the vectors of answers, conditioned on the interaction's query point
    (DiffHEG, eq. 1–11); states of its reverse chain at t = T/20, T/10, T/5, T/2 are negatives, harder for smaller t;
    their loss is hardness-adaptive (NTAT, eq. 12–14) and weighted λ. A negative's score is the mean of the single
    modalities' scores; the positive's is that of the whole model, as in eq. 13 and the code (``positive: modalities``
    uses the same mean for both). Eq. 12 prints one x_h for all three modalities; here the entity that is kept has its
    own vector in each (``kept: modality``), its structural one (the code with DistMult) or its fused one (RotatE).

    Corrections of paper and code: vectors are standardised, since unit noise would be far larger than all entities;
    the schedule ends in pure noise; the posterior mean and its noise are DDPM's (the paper prints b for a and α_t for
    √α_t); head and tail have separate chains; no gradient of the diffusion reaches the model; the tail query under
    TransE is h + r (the code has the signs reversed). ``preset`` selects among the ambiguous choices: ours
    (cosine schedule, chains that jump from level to level, a quarter of each batch, a denoiser of width d), the
    paper's (linear schedule, raw vectors, every step of the chain, width 4d, a final LayerNorm, time base 1000), or the
    released code's (also its levels, weights and L1 loss, without that layer and with base 10000). The paper gives
    neither margins nor weights; those are the code's. ``levels``, ``margins`` and ``weights`` replace the preset's;
    ``margins: [1, 1, 1, 1]`` is training by weights only. With γ = 0 (DistMult) margins have no effect, as in the code.
    """

    def __init__(
        self,
        context: Context,
        *,
        count: Count = 64,
        sides: Sides = "bernoulli",
        preset: Annotated[Literal["default", "paper", "released"], Field(description="whose choices")] = "default",
        weight: Annotated[float, Field(ge=0, description="λ of the hardness-adaptive terms")] = 0.01,
        timesteps: Annotated[int, Field(ge=20, le=100_000, description="T")] = 50,
        levels: Levels | None = None,
        margins: Margins | None = None,
        weights: Weights | None = None,
        positive: Annotated[
            Literal["model", "modalities"],
            Field(description="score of the positive: the model's, or as the negatives'"),
        ] = "model",
        kept: Annotated[
            Literal["modality", "structure", "fused"], Field(description="vector of the entity that is not replaced")
        ] = "modality",
        conditioned: Annotated[
            bool, Field(description="whether the denoiser sees the query; false: ablation of the paper's conditions")
        ] = True,
        only: Annotated[tuple[str, ...] | None, Field(description="modalities to diffuse (ablation)")] = None,
        lr: Annotated[float, Field(gt=0, description="learning rate of the denoisers")] = 1e-3,
    ) -> None:
        super().__init__()
        self.count, self.corruption, self.random = count, Corruption(context, sides), context.generator
        self.preset = replace(
            found := PRESETS[preset],
            levels=levels or found.levels,
            margins=margins or found.margins,
            weights=weights or found.weights,
        )
        if not len(self.preset.levels) == len(self.preset.margins) == len(self.preset.weights):
            raise UserError("negatives", "levels, margins and weights differ in number", "give as many of each")
        self.weight, self.positive, self.conditioned = weight, positive, conditioned
        self.kept = _kept_view(context.model, kept)
        self.schedule = Schedule(self.preset.schedule, timesteps)
        self.stops = [round(level * timesteps) for level in self.preset.levels]
        assert isinstance(context.loss, NegativeLoss)
        self.loss = HardnessAdaptive(
            margin=context.loss.margin, margins=self.preset.margins, weights=self.preset.weights
        )
        modalities = [m for m in context.model.entities.modalities if only is None or m in only]
        width = context.model.fusion.width
        self.denoisers = nn.ModuleDict({m: self._denoiser(width) for m in modalities})
        self.denoisers.to(self.random.device)
        self.optimizer = torch.optim.Adam(self.denoisers.parameters(), lr=lr, fused=True)
        self.targets: dict[str, Targets] = {}
        self.distances: list[Tensor] = []

    @classmethod
    def incompatibility(cls, fusion: Fusion, interaction: Interaction) -> str | None:
        if not isinstance(interaction, QueryInteraction) or isinstance(interaction, ProjectionInteraction):
            return "it needs the point near which answers lie; this interaction has none in the space of the entities"
        if all(term.interaction for term in fusion.terms):
            return "it asks by the model's interaction, but this fusion has interactions of its own"
        if fusion.unprojected:
            return "it makes vectors of the entities' width, but this fusion takes raw features"
        return None

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        self.distances = []

    def metrics(self) -> dict[str, float]:
        """Mean distance ‖negative − true‖ of each level over the epoch, which grows with t.

        ``dhns_distance_uniform`` is that of the batch's encoded entities, nearly all of them drawn uniformly.
        """
        names = [*(f"t{stop}" for stop in self.stops), "uniform"]
        means = torch.stack(self.distances).mean(0).tolist() if self.distances else []
        return {f"dhns_distance_{name}": mean for name, mean in zip(names, means, strict=False)}

    @property
    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        return {"denoisers": self.optimizer}

    def sample(self, batch: Batch, model: Model) -> list[NegativeBlock]:
        return self.corruption.blocks(batch, self.count)

    def refine(
        self, batch: Batch, blocks: list[NegativeBlock], encoded: EncodedEntities, model: Model
    ) -> list[NegativeBlock]:
        return blocks + (self._graded_blocks(batch, encoded, model) if self.weight else [])

    def update(self, batch: Batch, scored: Sequence[ScoredBlock], model: Model) -> None:
        """The denoisers' step on the batch's own vectors."""
        if not self.weight:
            return
        loss = total(self._denoising_loss(m, targets) for m, targets in self.targets.items())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def _graded_blocks(self, batch: Batch, encoded: EncodedEntities, model: Model) -> list[NegativeBlock]:
        """(h*, r, t), (h, r, t*) and (h*, r, t*) with one negative for each level."""
        size = ceil(self.preset.share * len(batch))
        rows = torch.randperm(len(batch), generator=self.random, device=self.random.device)[:size]
        head, tail = self._virtual_pair(batch.triples[rows], encoded, model)
        weight = self.weight * len(batch) / size / (3 * len(self.stops))
        positive = model.fusion.terms if self.positive == "model" else None
        return [
            NegativeBlock(
                rows,
                fake_head,
                fake_tail,
                "graded",
                weight,
                self._terms(model, fake_head, fake_tail),
                positive,
                self.loss,
            )
            for fake_head, fake_tail in ((head, None), (None, tail), (head, tail))
        ]

    def _terms(
        self, model: Model, head: GeneratedNegatives | None, tail: GeneratedNegatives | None
    ) -> tuple[Term, ...]:
        """One term per modality; a side that is not generated has its own vector there, or the ``kept`` view."""
        terms = (replace(model.fusion.unimodal(m), weight=1 / len(self.denoisers)) for m in self.denoisers)
        if self.kept is None:
            return tuple(terms)
        real_head, real_tail = head is None, tail is None
        return tuple(
            replace(term, head=self.kept if real_head else term.head, tail=self.kept if real_tail else term.tail)
            for term in terms
        )

    @torch.no_grad()
    def _virtual_pair(self, triples: Tensor, encoded: EncodedEntities, model: Model) -> Sequence[GeneratedNegatives]:
        """Generated heads and tails ``[b, levels]`` of ``triples[b, 3]``."""
        self.targets = {m: self._targets(m, triples, encoded, model) for m in self.denoisers}
        made = {m: self._generate(m, targets) for m, targets in self.targets.items()}
        others = torch.randint(len(encoded), (2 * len(triples), 1), generator=self.random, device=triples.device)
        shown = {m: torch.cat([vectors, take(encoded.modal[m], others)], dim=1) for m, vectors in made.items()}
        gaps = [torch.linalg.vector_norm(shown[m] - self.targets[m].true.unsqueeze(1), dim=-1).mean(0) for m in made]
        self.distances.append(total(gaps) / len(gaps))
        present = torch.ones(len(triples), len(self.stops), dtype=torch.bool, device=triples.device)
        parts = [{m: vectors.chunk(2)[side] for m, vectors in made.items()} for side in (0, 1)]
        return [GeneratedNegatives(ModalityEmbeddings(part, dict.fromkeys(part, present))) for part in parts]

    def _targets(self, modality: str, triples: Tensor, encoded: EncodedEntities, model: Model) -> Targets:
        heads, relations, tails = triples.unbind(1)
        head, tail = (at_least_float32(encoded.view(modality, ids, relations)) for ids in (heads, tails))
        asked = [model.query(tail, modality, relations, "head"), model.query(head, modality, relations, "tail")]
        true, conditions = torch.cat([head, tail]), self._standardised(torch.cat(asked))[0]
        conditions = conditions if self.conditioned else torch.zeros_like(conditions)
        return Targets(true, *self._standardised(true), conditions)

    def _generate(self, modality: str, targets: Targets) -> Tensor:
        """Vectors ``[2b, levels, e]`` along the reverse chain from pure noise."""

        def predict(state: Tensor, step: int) -> Tensor:
            return self._noise(modality, state, targets.conditions, torch.tensor([step], device=state.device))

        start = self._random_normal(targets.standard)
        if self.preset.strided:
            states = strided_chain(self.schedule, start, self.stops, predict)
        else:
            states = full_chain(self.schedule, start, self.stops, predict, self.random)
        return torch.stack(states, dim=1) * targets.deviation + targets.mean

    def _denoising_loss(self, modality: str, targets: Targets) -> Tensor:
        """E‖ε − ε̂(x_t, t, c)‖², eq. 11 with the noised x_t of eq. 2; the released code takes L1."""
        clean, noise = targets.standard, self._random_normal(targets.standard)
        step = torch.randint(1, self.schedule.steps + 1, (len(clean),), generator=self.random, device=clean.device)
        state = self.schedule.noised(clean, step, noise)
        gap = noise - self._noise(modality, state, targets.conditions, step)
        return (gap.square() if self.preset.squared else gap.abs()).mean()

    def _noise(self, modality: str, state: Tensor, condition: Tensor, step: Tensor) -> Tensor:
        """ε̂ at steps ``[2b]`` or ``[1]``.

        For standardised vectors the denoiser learns the residual of √(1 − ā_t) x_t, the best estimate without it.
        """
        learned = self.denoisers[modality](state, condition, step)
        return learned + self.schedule.noise_share(step, state) * state if self.preset.standardise else learned

    def _standardised(self, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Vectors with each coordinate's mean and deviation over the batch; 0 and 1 if vectors are raw."""
        if not self.preset.standardise:
            return vectors, vectors.new_zeros(()), vectors.new_ones(())
        mean = vectors.mean(0)
        deviation = (vectors - mean).square().mean(0).sqrt().clamp(min=1e-6)
        return (vectors - mean) / deviation, mean, deviation

    def _random_normal(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self.random, device=like.device, dtype=like.dtype)

    def _denoiser(self, width: int) -> Denoiser:
        return Denoiser(width, self.preset.hidden * width, self.preset.normalised, self.preset.base)


def _kept_view(model: Model, kept: str) -> str | None:
    """Name of the view of an entity that is not replaced; None if it has its own vector in each modality."""
    if kept == "modality":
        return None
    if model.config.reciprocal:  # each side is then both asked with and asked for
        raise UserError("negatives.kept", f"'{kept}' is not possible with reciprocal relations", "take modality")
    view = STRUCTURE if kept == "structure" else model.fusion.terms[0].head
    if kept == "fused" and model.fusion.terms[0].tag != "fused":
        raise UserError("negatives.kept", "this fusion makes no fused vector", "take fusion adamf, or another `kept`")
    if kept == "structure" and STRUCTURE not in model.fusion.modalities:
        raise UserError("negatives.kept", "the model has no structural vectors", "set model.structure: true")
    return view
