"""RSME."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from mmkgc.components.kge import tensors
from mmkgc.components.kge.entity_encoders.base import STRUCTURE, ModalityEmbeddings
from mmkgc.components.kge.features import Features
from mmkgc.components.kge.fusions.base import Fusion, Space, Term
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL
from mmkgc.components.kge.interactions.base import QueryInteraction, Side
from mmkgc.components.kge.interactions.geometry import Dot


class RSME(Fusion):
    """Structure mixed with the image, and the similarity of two images for relations where it is informative.

    Wang et al. 2021: the fusion gate makes e = (1 − α) e_s + α W f; the forget gate scores a triple by β s(h, r, t) +
    (1 − β) g_r cos(f_h, f_t), s being ComplEx in the paper. g_r is 1 if images are informative about r: if the tail's
    image is among the nearest to the head's (and the reverse), in the mean over r's triples. The mean rank is that of
    **train** triples; the released code also uses valid and test, which leaks answers. Its threshold was not available.
    An entity without an image is e_s, and has no similarity if ``model.missing`` is ``zeros``. α is one constant (the
    code also has one per relation). The filter gate chooses among an entity's images; here each entity has one feature
    vector, so there is nothing to choose. ``modality`` can name another feature, such as ``textual``.
    """

    def __init__(
        self,
        space: Space,
        *,
        modality: Annotated[str, Field(description="feature used with structure")] = "visual",
        alpha: Annotated[float, Field(ge=0, le=1, description="α, weight of the feature in an entity's vector")] = 0.7,
        beta: Annotated[float, Field(ge=0, le=1, description="β, weight of the score without similarity")] = 0.95,
        threshold: Annotated[
            float, Field(ge=0, le=1, description="mean rank below which similarity is used: 0 best, 0.5 chance")
        ] = 0.5,
    ) -> None:
        super().__init__(space)
        self.use(modality)
        self.modality, self.alpha, self.beta = modality, alpha, beta
        self.unprojected = frozenset({modality})
        width = space.raw_widths[modality]
        self.projection = nn.Linear(width, space.width, bias=False)
        ranks = torch.ones(space.n_relations)
        if modality in space.features and torch.get_default_device().type != "meta":
            ranks = mean_ranks(space.features[modality].pooled(), space.triples, space.n_relations)
        self.likeness = _Likeness(width, (ranks < threshold).to(ranks))

    @property
    def terms(self) -> tuple[Term, ...]:
        likeness = Term(self.modality, self.modality, "likeness", 1 - self.beta, interaction=self.likeness)
        return (Term("joint", "joint", weight=self.beta, tag="fused"), likeness)

    def fuse(self, modal: ModalityEmbeddings, relations: Tensor | None) -> dict[str, Tensor]:
        structure, present = modal[STRUCTURE], modal.present[self.modality].unsqueeze(-1)
        mixed = (1 - self.alpha) * structure + self.alpha * self.projection(modal[self.modality])
        return {"joint": torch.where(present, mixed, structure)}


class _Likeness(QueryInteraction):
    """g_r cos(h, t); the relation's "vector" is its gate, which is not learned."""

    learns_relations = False

    def __init__(self, width: int, gates: Tensor) -> None:
        super().__init__(width, 1.0, relation_width=1)
        self.geometry = Dot()
        self.gates = gates

    def initialise(self, vectors: Tensor) -> Tensor:
        """Set the gates, repeated if head queries have their own relations."""
        with torch.no_grad():
            return vectors.copy_(self.gates.repeat(len(vectors) // len(self.gates)).unsqueeze(1))

    def moduli(self, vectors: Tensor) -> Tensor:
        """Zeros: nothing is learned here, so nothing is regularised."""
        return torch.zeros_like(vectors)

    def entity(self, vectors: Tensor) -> Tensor:
        return normalize(vectors, dim=-1)

    def query(self, known: Tensor, relation: Tensor, side: Side) -> Tensor:
        return known * relation


def mean_ranks(features: Features, triples: Tensor, n_relations: int) -> Tensor:
    """Similarity rank ``[R]`` of two ends: the mean over a relation's ``triples[T, 3]`` and both directions.

    It is the share of other entities more similar to one end than the other end is; 1 if no triple has both features.
    """
    with_feature = features.mask.nonzero().squeeze(1)
    unit = normalize(features.vectors[with_feature], dim=1)
    place = torch.full((len(features.mask),), -1).index_copy(0, with_feature, torch.arange(len(with_feature)))
    told = torch.unique(triples, dim=0)
    told = told[(place[told[:, [HEAD, TAIL]]] >= 0).all(1) & (told[:, HEAD] != told[:, TAIL])]
    heads, tails = place[told[:, HEAD]], place[told[:, TAIL]]
    relations = told[:, RELATION].repeat(2)
    share = _nearer(unit, torch.cat([heads, tails]), torch.cat([tails, heads])) / max(1, len(unit) - 2)
    count = torch.bincount(relations, minlength=n_relations)
    sums = torch.zeros(n_relations).index_add(0, relations, share)
    return torch.where(count > 0, sums / count.clamp(min=1), 1.0)


def _nearer(unit: Tensor, ours: Tensor, theirs: Tensor) -> Tensor:
    """Number ``[P]`` of rows of ``unit[n, d]`` nearer to row ``ours[P]`` than row ``theirs[P]`` is."""
    distinct, row = torch.unique(ours, return_inverse=True)
    found = torch.zeros(len(ours))
    for block in tensors.slices(len(distinct), tensors.rows_at_once(len(unit), unit.device)):
        alike = unit[distinct[block]] @ unit.T
        pairs = ((row >= block.start) & (row < block.stop)).nonzero().squeeze(1)
        own = alike[row[pairs] - block.start]
        own = own.scatter(1, ours[pairs].unsqueeze(1), -torch.inf)  # exclude the row itself
        found[pairs] = (own > own.gather(1, theirs[pairs].unsqueeze(1))).sum(1).float()
    return found
