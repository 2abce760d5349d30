"""The model: entities + relations + fusion + interaction.

B batch, K negatives, N entities, R relations, e and r the interaction's widths. Scores are float32 logits: higher is
more plausible, the margin γ is not included, nothing is squashed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from mmkgc.components.kge.encoded_entities import EncodedEntities
from mmkgc.components.kge.entity_encoders.table import STRUCTURE, EntityTable, FeatureScale, Missing, ModalityEmbeddings
from mmkgc.components.kge.features import Features
from mmkgc.components.kge.fusions import FUSIONS
from mmkgc.components.kge.fusions.base import Space, Term
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL
from mmkgc.components.kge.grouping import group_consecutive
from mmkgc.components.kge.interactions import INTERACTIONS
from mmkgc.components.kge.interactions.base import Query, QueryInteraction, Side
from mmkgc.components.kge.kernels.rows import take
from mmkgc.components.kge.negatives.base import EntityNegatives, GeneratedNegatives, NegativeBlock
from mmkgc.components.kge.tensors import joined, total

Group = tuple[Mapping[str, Tensor], Tensor, Side]  # queries: views of the known entities, relations, side asked for


class ModelConfig(BaseModel):
    """What kind of model, and how wide."""

    model_config = ConfigDict(extra="forbid", validate_default=True)

    dimension: int = Field(200, gt=0, description="d; an interaction over complex numbers has 2d reals an entity")
    interaction: Annotated[dict[str, Any], *INTERACTIONS.annotate()] = Field(
        INTERACTIONS.resolve("rotate"), description="score function"
    )
    fusion: Annotated[dict[str, Any], *FUSIONS.annotate()] = Field(
        FUSIONS.resolve("adamf"), description="how modalities meet"
    )
    modalities: tuple[str, ...] | None = Field(None, description="features to use; default: all that there are")
    reciprocal: bool = Field(False, description="a second relation vector for head queries; a triple: mean of both")
    missing: Missing = Field("learned", description="what stands in where an entity lacks a modality")
    structure_dropout: float = Field(0.0, ge=0, lt=1, description="share of entities trained without own structure")
    feature_scale: FeatureScale = Field(
        "unit", description="mean norm 1 for each modality's features; raw: as they come"
    )
    fine_tune: bool = Field(False, description="train the raw features too")


class Model(nn.Module):
    """A multi-modal knowledge-graph embedding model.

    ``seen``: bool ``[N]``, the entities of the train triples. Weights are drawn from torch's global generator.
    """

    def __init__(
        self, config: ModelConfig, n_entities: int, n_relations: int, features: Mapping[str, Features], seen: Tensor
    ) -> None:
        super().__init__()
        self.config, self.n_relations = config, n_relations
        self.interaction = INTERACTIONS.create(config.interaction)
        features = dict(sorted(features.items()))  # sums of modalities must not depend on who gave them in which order
        width = self.interaction.entity_width(config.dimension)
        self.fusion = FUSIONS.create(config.fusion, Space((STRUCTURE, *features), width, n_relations))
        self.entities = EntityTable(
            self.interaction.initialise(torch.empty(n_entities, width)),
            {m: table for m, table in features.items() if m in self.fusion.modalities},
            seen,
            config.missing,
            config.structure_dropout,
            config.fine_tune,
            config.feature_scale,
        )
        rows = n_relations * (2 if config.reciprocal else 1)
        relation_width = self.interaction.relation_width(config.dimension)
        self.relations = nn.ParameterDict(
            {
                name: nn.Parameter(self.interaction.initialise(torch.empty(rows, relation_width)))
                for name in sorted({term.relation for term in self.fusion.terms})
            }
        )
        self._frozen: EncodedEntities | None = None

    # -- scores ------------------------------------------------------------------------------------------------------

    def score_triples(self, triples: Tensor) -> Tensor:
        """Scores ``[B]`` of ``triples[B, 3]``; with reciprocal relations the mean of both directions."""
        encoded = self._frozen or EncodedEntities(self, [triples[:, HEAD], triples[:, TAIL]])
        return self.score_pooled(encoded, triples, self.fusion.terms)

    def score_tails(self, heads: Tensor, relations: Tensor) -> Tensor:
        """Scores ``[B, N]`` of every entity as the tail of ``(heads[B], relations[B], ?)``."""
        return self.score_all(self.everyone(), heads, relations, "tail")

    def score_heads(self, relations: Tensor, tails: Tensor) -> Tensor:
        """Scores ``[B, N]`` of every entity as the head of ``(?, relations[B], tails[B])``."""
        return self.score_all(self.everyone(), tails, relations, "head")

    def score_tails_of(self, head: ModalityEmbeddings, relations: Tensor) -> Tensor:
        """Scores ``[B, N]`` of every entity as the tail of heads given by their vectors (new entities, say)."""
        return self.score_sides_of([(head, relations, "tail")])[0]

    def score_heads_of(self, relations: Tensor, tail: ModalityEmbeddings) -> Tensor:
        """Scores ``[B, N]`` of every entity as the head of tails given by their vectors."""
        return self.score_sides_of([(tail, relations, "head")])[0]

    def score_sides_of(self, asked: Sequence[tuple[ModalityEmbeddings, Tensor, Side]]) -> list[Tensor]:
        """Scores ``[b, N]`` of several groups: known entities by their vectors, ``relations[b]``, the side asked for.

        They go through the table of entities together where heads and tails have the same.
        """
        encoded, terms = self.everyone(), self.fusion.terms
        groups = [(self.fusion.views(known, relations), relations, side) for known, relations, side in asked]
        if _views_of(terms) <= encoded.views.keys() and all(term.head == term.tail for term in terms):
            return self._against_table(encoded, groups, terms)
        return [self._against_all(encoded, *group) for group in groups]

    def score_all(
        self,
        encoded: EncodedEntities,
        known: Tensor,
        relations: Tensor,
        side: Side,
        terms: Iterable[Term] | None = None,
    ) -> Tensor:
        """Scores ``[B, U]`` of every entity of the pool for queries of ids ``known[B]``, ``relations[B]``."""
        terms = tuple(terms or self.fusion.terms)
        views = {name: encoded.view(name, known, relations) for name in _views_of(terms)}
        return self._against_all(encoded, views, relations, side, terms)

    def score_modal(
        self, head: ModalityEmbeddings, relations: Tensor, tail: ModalityEmbeddings, terms: Iterable[Term] | None = None
    ) -> Tensor:
        """Scores ``[...]`` of triples given by vectors ``[..., e]``, ``relations[...]``; dimensions broadcast."""
        terms = tuple(terms or self.fusion.terms)
        heads, tails = (self._needed_views(modal, relations, terms) for modal in (head, tail))
        return self._score_crossed([heads], relations, [tails], [(0, 0)], terms)[0]

    def score_pooled(self, encoded: EncodedEntities, triples: Tensor, terms: tuple[Term, ...]) -> Tensor:
        """Scores ``[B]`` of ``triples[B, 3]`` whose entities are in the pool."""
        heads, relations, tails = triples.unbind(1)
        views = [{name: encoded.view(name, ids, relations) for name in _views_of(terms)} for ids in (heads, tails)]
        return self._score_crossed([views[0]], relations, [views[1]], [(0, 0)], terms)[0]

    def score_blocks(
        self,
        encoded: EncodedEntities,
        triples: Tensor,
        blocks: Iterable[NegativeBlock],
        terms: Iterable[Term] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Scores of the positives ``[b]`` and negatives ``[b, K]`` of blocks, one after another.

        ``triples[B, 3]``: the batch. Real entities of one side are answers to a query, and go through the table of
        entities together; all others are triples, with reciprocal relations the mean of both directions.
        """
        terms = tuple(terms or self.fusion.terms)
        scores: list[tuple[Tensor, Tensor]] = []
        for alike in group_consecutive(blocks, _together):
            if _answers(alike[0]):
                scores.append(self._score_answers(encoded, triples, alike, terms))
            else:
                scores += self._score_fakes(encoded, triples, alike, terms)
        positive, negative = zip(*scores, strict=True)
        return joined(positive), joined(negative)

    # -- parts -------------------------------------------------------------------------------------------------------

    def relation(self, term: Term, relations: Tensor, side: Side) -> Tensor:
        """Relation vectors ``[..., r]`` of a term; head queries have their own where relations are reciprocal."""
        inverse = self.config.reciprocal and side == "head"
        return take(self.relations[term.relation], relations + self.n_relations if inverse else relations)

    def query(self, known: Tensor, modality: str, relations: Tensor, side: Side) -> Tensor:
        """Point ``[B, e]`` near which the answers' vectors of one modality lie, for query interactions alone."""
        assert isinstance(self.interaction, QueryInteraction)
        relation = self.relation(self.fusion.unimodal(modality), relations, side)
        direction: Side = "tail" if self.config.reciprocal else side
        return self.interaction.query(self.interaction.entity(known), relation, direction)

    def everyone(self) -> EncodedEntities:
        """All N entities, projected and fused; the frozen ones where the model is frozen."""
        return self._frozen or EncodedEntities(self)

    def freeze(self, encoded: EncodedEntities | None = None) -> "Model":
        """Switch to evaluation and keep every entity's vectors ready; parameters must not change until ``train()``.

        ``encoded``: these vectors, if they have been computed before.
        """
        self.eval()
        with torch.no_grad():
            self._frozen = encoded or EncodedEntities(self)
        return self

    def train(self, mode: bool = True) -> "Model":
        """Switch between training and evaluation; the frozen vectors are dropped."""
        self._frozen = None
        return super().train(mode)

    def modality_weights(self, triples: Tensor) -> dict[str, Tensor] | None:
        """Share ``[B]`` of each modality in ``triples[B, 3]``: the mean over head and tail; None without weights."""
        ends = (self.entities.modal(triples[:, column]) for column in (HEAD, TAIL))
        heads, tails = (self.fusion.shares(modal, triples[:, RELATION]) for modal in ends)
        return {m: (heads[m] + tails[m]) / 2 for m in heads} if heads and tails else None

    def groups(self) -> list[tuple[Term, ...]]:
        """The terms that the objective looks at together; what it sees alone is not weighed."""
        terms = self.fusion.terms
        return [(replace(term, weight=1.0),) for term in terms] if self.fusion.separate else [terms]

    def auxiliary(self, encoded: EncodedEntities, triples: Tensor) -> dict[str, Tensor]:
        """Further losses, weighted, that the interaction and the fusion ask for, by name."""
        relations = (take(table, triples[:, RELATION]) for table in self.relations.values())
        return self.fusion.auxiliary(encoded.modal) | self.interaction.auxiliary(relations)

    def factors(self, encoded: EncodedEntities, triples: Tensor) -> list[Tensor]:
        """Moduli ``[·, e]`` of the vectors of ``triples[B, 3]`` in every distinct view and relation table."""
        heads, relations, tails = triples.unbind(1)
        terms = self.fusion.terms
        vectors = [encoded.view(view, heads, relations) for view in sorted({term.head for term in terms})]
        vectors += [encoded.view(view, tails, relations) for view in sorted({term.tail for term in terms})]
        rows = torch.cat([relations, relations + self.n_relations]) if self.config.reciprocal else relations
        vectors += [take(table, rows) for table in self.relations.values()]
        return [self.interaction.moduli(vector) for vector in vectors]

    def _needed_views(self, modal: ModalityEmbeddings, relations: Tensor, terms: tuple[Term, ...]) -> dict[str, Tensor]:
        """The modalities alone where no term looks at a fused vector."""
        return modal.vectors if _views_of(terms) <= modal.vectors.keys() else self.fusion.views(modal, relations)

    def _score_crossed(
        self,
        heads: Sequence[Mapping[str, Tensor]],
        relations: Tensor,
        tails: Sequence[Mapping[str, Tensor]],
        pairs: Sequence[tuple[int, int]],
        terms: tuple[Term, ...],
    ) -> list[Tensor]:
        """Scores of the views ``heads[i]`` and ``tails[j]`` for each of ``pairs``.

        With reciprocal relations the mean of both directions.
        """
        score = partial(self._score_directed, relations=relations, terms=terms)
        forward = score(heads, tails, pairs, side="tail")
        if not self.config.reciprocal:
            return forward
        backward = score(tails, heads, [(j, i) for i, j in pairs], side="head")
        return [(one + other) / 2 for one, other in zip(forward, backward, strict=True)]

    def _score_directed(
        self,
        known: Sequence[Mapping[str, Tensor]],
        sought: Sequence[Mapping[str, Tensor]],
        pairs: Sequence[tuple[int, int]],
        relations: Tensor,
        terms: tuple[Term, ...],
        side: Side,
    ) -> list[Tensor]:
        of_terms = []
        for term in terms:
            views = [ours[term.head] for ours in known], [theirs[term.tail] for theirs in sought]
            scores = self.interaction.score_crossed(views[0], self.relation(term, relations, side), views[1], pairs)
            of_terms.append([_weighed(term, score) for score in scores])
        return [total(scores) for scores in zip(*of_terms, strict=True)]

    def _against_all(
        self,
        encoded: EncodedEntities,
        known: Mapping[str, Tensor],
        relations: Tensor,
        side: Side,
        terms: tuple[Term, ...] | None = None,
    ) -> Tensor:
        """Scores ``[B, U]``; views that depend on the relation are made once for every distinct one."""
        terms = terms or self.fusion.terms
        if _views_of(terms) <= encoded.views.keys():
            return self._against_table(encoded, [(known, relations, side)], terms)[0]
        rows_of = [(relations == relation).nonzero().squeeze(1) for relation in relations.unique()]
        groups = [({name: view[rows] for name, view in known.items()}, relations[rows], side) for rows in rows_of]
        scores = torch.cat([self._against_table(encoded, [group], terms)[0] for group in groups])
        return scores[torch.cat(rows_of).argsort()]

    def _against_table(
        self, encoded: EncodedEntities, groups: Sequence[Group], terms: tuple[Term, ...]
    ) -> list[Tensor]:
        """Scores ``[b, U]`` of groups of queries that meet the same table of each view, in one pass over it.

        Where views depend on the relation, it is the table of the first one.
        """
        _, relations, side = groups[0]
        of_terms = []
        for term in terms:
            table = encoded.everyone(self.roles(term, side)[1], relations[:1])
            scores = self.interaction.score_sides([self._asked(term, *group) for group in groups], table)
            of_terms.append([_weighed(term, score) for score in scores])
        return [total(scores) for scores in zip(*of_terms, strict=True)]

    def _asked(self, term: Term, known: Mapping[str, Tensor], relations: Tensor, side: Side) -> Query:
        """What a term asks the interaction about known entities in their views."""
        view, _, direction = self.roles(term, side)
        return known[view], self.relation(term, relations, side), direction

    def _score_fakes(
        self, encoded: EncodedEntities, triples: Tensor, blocks: Sequence[NegativeBlock], terms: tuple[Term, ...]
    ) -> list[tuple[Tensor, Tensor]]:
        """As ``score_blocks``, of blocks at the same rows; an entity that several of them have is looked at once."""
        own = triples[blocks[0].rows]
        relations = own[:, RELATION]
        heads: list[EntityNegatives | GeneratedNegatives] = [EntityNegatives(own[:, [HEAD]])]
        tails: list[EntityNegatives | GeneratedNegatives] = [EntityNegatives(own[:, [TAIL]])]
        pairs = [(0, 0)] + [(_place(block.head, heads), _place(block.tail, tails)) for block in blocks]
        views = [
            [{name: encoded.stand_ins(name, entities, relations) for name in _views_of(terms)} for entities in side]
            for side in (heads, tails)
        ]
        positive, *negatives = self._score_crossed(views[0], relations.unsqueeze(1), views[1], pairs, terms)
        return [(positive.squeeze(1), negative) for negative in negatives]

    def _score_answers(
        self, encoded: EncodedEntities, triples: Tensor, blocks: Sequence[NegativeBlock], terms: tuple[Term, ...]
    ) -> tuple[Tensor, Tensor]:
        """Positives and negatives answer the same query, so the gold answer is scored as the first candidate."""
        scores = []
        for term in terms:
            questions = [self._question(encoded, triples[block.rows], block, term) for block in blocks]
            of_term = []
            for alike in group_consecutive(questions, lambda one, other: one[1] is other[1]):
                asked, (table, *_), index = zip(*alike, strict=True)
                of_term.append(self.interaction.score_candidates(asked, table, joined(index)))
            scores.append(_weighed(term, joined(of_term)))
        positive, negative = total(scores).tensor_split([1], dim=1)
        return positive.squeeze(1), negative

    def _question(
        self, encoded: EncodedEntities, triples: Tensor, block: NegativeBlock, term: Term
    ) -> tuple[Query, Tensor, Tensor]:
        """What a term asks about a block of one side; a table ``[U, e]`` and the answers' rows of it ``[b, 1 + K]``."""
        heads, relations, tails = triples.unbind(1)
        side: Side = "tail" if block.head is None else "head"
        known, gold, others = (heads, tails, block.tail) if side == "tail" else (tails, heads, block.head)
        assert isinstance(others, EntityNegatives)
        ours, theirs, direction = self.roles(term, side)
        asked = encoded.view(ours, known, relations), self.relation(term, relations, side), direction
        return asked, *encoded.candidates(theirs, others.after(gold), relations)

    def roles(self, term: Term, side: Side) -> tuple[str, str, Side]:
        """Views of the known and of the sought side, and the direction: (?, r, t) is (t, r⁻¹, ?) with reciprocals."""
        if side == "tail" or self.config.reciprocal:
            return term.head, term.tail, "tail"
        return term.tail, term.head, "head"


def _views_of(terms: Iterable[Term]) -> set[str]:
    return {view for term in terms for view in (term.head, term.tail)}


def _together(one: NegativeBlock, other: NegativeBlock) -> bool:
    """Whether blocks are scored together: answers with answers, other triples with those of the same rows."""
    return _answers(one) if _answers(other) else not _answers(one) and one.rows is other.rows


def _answers(block: NegativeBlock) -> bool:
    """Whether real entities replace one side: they are answers to a query."""
    replaced = [side for side in (block.head, block.tail) if side is not None]
    return len(replaced) == 1 and isinstance(replaced[0], EntityNegatives)


def _place(
    entities: EntityNegatives | GeneratedNegatives | None, seen: list[EntityNegatives | GeneratedNegatives]
) -> int:
    """Where in ``seen`` a side's entities stand, at its end if they are new; the positives' own are the first."""
    if entities is None:
        return 0
    places = [place for place, other in enumerate(seen) if other is entities]
    if not places:
        seen.append(entities)
    return places[0] if places else len(seen) - 1


def _weighed(term: Term, score: Tensor) -> Tensor:
    return score if term.weight == 1 else term.weight * score
