"""MMRNS: relation-enhanced multi-modal negatives."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from mmkgc.components.kge.encoded_entities import EncodedEntities
from mmkgc.components.kge.entity_encoders.base import STRUCTURE, ModalityEmbeddings
from mmkgc.components.kge.fusions.base import Fusion
from mmkgc.components.kge.interactions.base import Interaction
from mmkgc.components.kge.losses.base import TINY
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.negatives.base import Context, NegativeSampler
from mmkgc.components.kge.negatives.corruption import Corruption, Count, Sides
from mmkgc.components.kge.negatives.samples import (
    Batch,
    EntityNegatives,
    GeneratedNegatives,
    NegativeBlock,
    ScoredBlock,
)
from mmkgc.components.kge.tensors import total

HOTTEST = 10.0  # temperature of the proposals at the first step
NEVER = -1e9  # similarity assigned to a train positive


class Proposal(NamedTuple):
    """A proposal for one side of b positives, among P candidate entities.

    ``share``: probability ``[b, P]`` of each; ``leaf``: the same, as the leaf that receives the gradient of the picks;
    ``ids``: the entities ``[b, K]`` that were picked; ``contrast``: the contrastive loss, a scalar.
    """

    share: Tensor
    leaf: Tensor
    ids: Tensor
    contrast: Tensor


class MMRNS(NegativeSampler):
    """Negatives similar to the positive in image, text or structure, compared by a gate for each relation.

    Xu et al. 2022. Among random candidates, K are drawn without replacement from the mean of one proposal per
    modality: the softmax of cos(g_r ∘ W x, g_r ∘ W x⁺)/T, where the gate g_r = σ(V r) weighs the coordinates for
    the relation and T = 10/(1 + log step) decreases. Picks use a straight-through estimator: the drawn entity in the
    forward pass, the mean embedding under the proposal in the backward pass. So the loss trains W, V and r, together
    with a contrastive term that makes the positive more similar to itself than to the candidates.

    The paper compares sequences of image patches and words, by attention of each modality to the other (KCA). Here each
    entity has one vector per modality (the mean of its tokens), so there is no attention and only the gate of KCA
    remains. Other differences: the batch shares its candidates (released: each positive has 1500 of its own), the
    backward pass uses the proposal itself for the Gumbel-softmax, positives and candidates go through the same layers
    (released: one lacks a normalisation), and batches may have any size. As released, sampler and model minimise the
    same loss. Features are compared whether or not the model uses them (the paper's model does not); the structure that
    is compared is the model's, without gradient. With reciprocal relations, the score of
    a negative is the mean of both directions.

    Memory: about 4 · P · (modalities + 3) bytes per positive of a batch, and the vectors of its K negatives.
    """

    reads_features = True

    def __init__(
        self,
        context: Context,
        *,
        count: Count = 20,
        sides: Sides = "uniform",
        candidates: Annotated[int, Field(gt=0, le=65_536, description="number of candidates, P")] = 1500,
        dimension: Annotated[
            int, Field(gt=0, le=65_536, description="of the vectors that are compared, and of r")
        ] = 50,
        contrast: Annotated[float, Field(ge=0, description="weight of the contrastive term")] = 0.01,
        lr: Annotated[float, Field(gt=0, description="learning rate of the sampler")] = 1e-4,
    ) -> None:
        super().__init__()
        self.count, self.corruption, self.random = count, Corruption(context, sides), context.generator
        self.n_entities, self.contrast = context.n_entities, contrast
        self.candidates = max(min(candidates, self.n_entities), count)
        self.features = tuple(context.features)
        for m, table in context.features.items():
            self.register_buffer(f"raw_{m}", table.pooled().vectors, persistent=False)
        widths = {m: table.shape[1] for m, table in self._tables(context.model).items()}
        self.projections = nn.ModuleDict({m: nn.Linear(width, dimension, bias=False) for m, width in widths.items()})
        self.gates = nn.ModuleDict({m: nn.Linear(dimension, dimension) for m in widths})
        n_relations = len(context.graph.relations)
        self.relations = nn.Parameter(nn.init.xavier_uniform_(torch.empty(n_relations, dimension)))
        self.to(self.random.device)
        self.optimizer = torch.optim.Adam(self.parameters(), lr=lr)
        self.steps: Tensor
        self.register_buffer("steps", torch.ones((), dtype=torch.long, device=self.random.device))
        self.pool, self.proposals = torch.empty(0, dtype=torch.long), list[Proposal]()

    @classmethod
    def incompatibility(cls, fusion: Fusion, interaction: Interaction) -> str | None:
        if set(fusion.available) <= {STRUCTURE}:
            return "it proposes entities by their image and text, and there are no features"
        return None

    @property
    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        return {"sampler": self.optimizer}

    def sample(self, batch: Batch, model: Model) -> list[NegativeBlock]:
        size = max(self.n_entities, self.candidates)  # entities repeat only if there are too few
        order = torch.randperm(size, generator=self.random, device=self.random.device) % self.n_entities
        self.pool, self.proposals, blocks = order[: self.candidates], [], []
        tables = {m: table.detach() for m, table in self._tables(model).items()}
        compared = {m: self.projections[m](table[self.pool]) for m, table in tables.items()}
        for rows, side, uniform in self.corruption(batch, self.count):
            triples = batch.triples[rows]
            gold = batch.tails[rows] if side == "tail" else batch.heads[rows]
            positive = torch.zeros(len(rows), self.candidates, dtype=torch.bool, device=gold.device)
            everyone = self.pool.expand(len(rows), -1)
            positive.view(-1)[self.corruption.train.collisions(triples, side, everyone)] = True
            near = {
                m: self._similarity(m, table[gold], batch.relations[rows], compared[m]) for m, table in tables.items()
            }
            proposal = self._propose([s.masked_fill(positive, NEVER) for s in near.values()], positive, uniform)
            self.proposals.append(proposal)
            blocks.append(NegativeBlock.of(rows, side, EntityNegatives(proposal.ids)))
        return blocks

    def further_ids(self) -> Iterable[Tensor]:
        yield self.pool

    def refine(
        self, batch: Batch, blocks: list[NegativeBlock], encoded: EncodedEntities, model: Model
    ) -> list[NegativeBlock]:
        picked = []
        for block, proposal in zip(blocks, self.proposals, strict=True):
            negatives = GeneratedNegatives(self._straight_through(proposal, encoded))
            picked.append(NegativeBlock.of(block.rows, "tail" if block.head is None else "head", negatives))
        return picked

    def update(self, batch: Batch, scored: Sequence[ScoredBlock], model: Model) -> None:
        """Make the sampler's step on the model's loss of the picks and the contrastive term."""
        losses = [self.contrast * proposal.contrast / len(batch) for proposal in self.proposals]
        losses += [(p.share * p.leaf.grad).sum() for p in self.proposals if p.leaf.grad is not None]
        self.optimizer.zero_grad()
        total(losses).backward()
        self.optimizer.step()
        self.steps += 1
        self.proposals = []

    def _similarity(self, modality: str, gold: Tensor, relations: Tensor, compared: Tensor) -> Tensor:
        """cos(g ∘ W x⁺, g ∘ W x) ``[b, P]``; ``gold[b, d_m]``: all x⁺, ``compared[P, d]``: W x of all candidates."""
        gate = self.gates[modality](self.relations[relations]).sigmoid().square()
        own = self.projections[modality](gold)
        lengths = ((gate * own.square()).sum(1, keepdim=True), gate @ compared.square().T)
        return (gate * own) @ compared.T / (lengths[0] * lengths[1] + TINY).sqrt()

    def _propose(self, similarities: Sequence[Tensor], positive: Tensor, uniform: Tensor) -> Proposal:
        """Draw from the mean of all proposals; ``uniform`` ids are used where only positives are left."""
        temperature = HOTTEST / (1 + self.steps.log())
        share = total((s / temperature).softmax(-1) for s in similarities) / len(similarities)
        noise = torch.rand(share.shape, generator=self.random, device=share.device).clamp(min=TINY)
        keys = share.detach().clamp(min=TINY).log() - (-noise.log()).log()  # Gumbel: the K largest are K draws
        columns = keys.masked_fill(positive, -torch.inf).topk(self.count).indices
        ids = torch.where(positive.gather(1, columns), uniform, self.pool[columns])
        own = torch.ones_like(share[:, :1])  # the positive's similarity with itself
        contrast = [torch.cat([own, s], dim=1).div(temperature).log_softmax(-1)[:, 0].sum() for s in similarities]
        return Proposal(share, share.detach().requires_grad_(), ids, -total(contrast) / len(contrast))

    def _straight_through(self, proposal: Proposal, encoded: EncodedEntities) -> ModalityEmbeddings:
        """The picked entities ``[b, K]``, with the gradient of the candidates' mean under the proposal."""
        picked, pool = encoded.modal.rows(encoded.index(proposal.ids)), encoded.index(self.pool)
        nothing = proposal.leaf - proposal.leaf.detach()
        vectors = {}
        for m, own in picked.vectors.items():
            mean = nothing.to(own.dtype) @ encoded.modal[m].detach()[pool]
            vectors[m] = own + mean.unsqueeze(1)
        return ModalityEmbeddings(vectors, picked.present)

    def _tables(self, model: Model) -> dict[str, Tensor]:
        """The vectors ``[N, d_m]`` of each modality that are compared: raw features and structural vectors."""
        tables = {m: self.get_buffer(f"raw_{m}") for m in self.features}
        structure = model.entities.structural_table()
        return tables if structure is None else {STRUCTURE: structure, **tables}
