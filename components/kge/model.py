"""The model: entity encoder, relation vectors, fusion and interaction. It knows the graph's triples, no negatives.

B batch, N entities, R relations, U encoded entities, V development triples, e and r the interaction's widths. Scores
are float32 logits: higher is more plausible, without margin γ and without a sigmoid.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from mmkgc.components.kge.encoded_entities import EncodedEntities
from mmkgc.components.kge.entity_encoders import ENTITY_ENCODERS
from mmkgc.components.kge.entity_encoders.base import STRUCTURE, EntityData, ModalityEmbeddings
from mmkgc.components.kge.features import Features, TokenFeatures
from mmkgc.components.kge.fusions import FUSIONS
from mmkgc.components.kge.fusions.base import Space, Term, views_of
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL, no_triples
from mmkgc.components.kge.interactions import INTERACTIONS
from mmkgc.components.kge.interactions.base import Interaction, Query, QueryInteraction, Side
from mmkgc.components.kge.kernels.rows import take
from mmkgc.components.kge.model_config import TABLE_SETTINGS, ModelConfig

Views = Mapping[str, Tensor]
Queries = tuple[Views, Tensor, Side]  # views of the known entities, relations, the side that is asked for


class Model(nn.Module):
    """A multi-modal knowledge-graph embedding model.

    ``seen``: bool ``[N]``, the entities of the train triples ``triples`` ``[T, 3]``, along which a graph encoder passes
    messages. Weights are drawn from torch's global generator.
    """

    def __init__(
        self,
        config: ModelConfig,
        n_relations: int,
        features: Mapping[str, Features | TokenFeatures],
        seen: Tensor,
        triples: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.config, self.n_relations = config, n_relations
        self.interaction = INTERACTIONS.create(config.interaction, config.dimension)
        features = dict(sorted(features.items()))  # sums over modalities must not depend on the order of the features
        width, raw_widths = self.interaction.entity_width, {m: table.dimension for m, table in features.items()}
        modalities = ((STRUCTURE,) if config.structure else ()) + tuple(features)
        triples = no_triples() if triples is None else triples
        contexts = ENTITY_ENCODERS.lookup(config.encoder["name"]).contexts
        make = partial(INTERACTIONS.create, config.interaction)
        space = Space(modalities, width, n_relations, raw_widths, features, triples, self.interaction, contexts, make)
        self.fusion = FUSIONS.create(config.fusion, space)
        data = EntityData(
            width,
            n_relations,
            {m: table for m, table in features.items() if m in self.fusion.modalities},
            seen,
            self.interaction.initialise(torch.empty(len(seen), width)) if config.structure else None,
            triples,
            self.fusion.unprojected,
            **config.model_dump(include=TABLE_SETTINGS),
        )
        self.entities = ENTITY_ENCODERS.create(config.encoder, data)
        self.relations = nn.ParameterDict(self._relation_tables(n_relations * (2 if config.reciprocal else 1)))
        self.entities.attach(self.interaction, self.relations, self.fusion.unimodal(STRUCTURE).relation)
        self.seen: Tensor
        self.register_buffer("seen", seen, persistent=False)
        self._frozen: EncodedEntities | None = None

    def _relation_tables(self, rows: int) -> dict[str, nn.Parameter]:
        """One table of relation vectors ``[rows, r]`` for each name among the terms."""

        def table(interaction: Interaction) -> nn.Parameter:
            vectors = interaction.initialise_relations(torch.empty(rows, interaction.relation_width))
            return nn.Parameter(vectors, interaction.learns_relations)

        interactions = {term.relation: self.interaction_of(term) for term in self.fusion.terms}
        return {name: table(interaction) for name, interaction in sorted(interactions.items())}

    def score_triples(self, triples: Tensor) -> Tensor:
        """Scores ``[B]`` of ``triples[B, 3]``; with reciprocal relations the mean of both directions."""
        encoded = self._frozen or self.encode([triples[:, HEAD], triples[:, TAIL]])
        return self.score_encoded(encoded, triples, self.fusion.terms)

    def score_tails(self, heads: Tensor, relations: Tensor) -> Tensor:
        """Scores ``[B, N]`` of every entity as the tail of ``(heads[B], relations[B], ?)``."""
        return self.score_all(self.everyone(), heads, relations, "tail")

    def score_heads(self, relations: Tensor, tails: Tensor) -> Tensor:
        """Scores ``[B, N]`` of every entity as the head of ``(?, relations[B], tails[B])``."""
        return self.score_all(self.everyone(), tails, relations, "head")

    def score_queries(self, queries: Sequence[tuple[ModalityEmbeddings, Tensor, Side]]) -> list[Tensor]:
        """Scores ``[b, N]`` of groups: known entities by their embeddings, ``relations[b]``, the side asked for.

        Groups that share a table of entities (same views of heads and tails) are scored in one pass.
        """
        encoded, terms = self.everyone(), self.fusion.terms
        groups = [(self.fusion.views(known, relations), relations, side) for known, relations, side in queries]
        if views_of(terms) <= encoded.views.keys() and all(term.head == term.tail for term in terms):
            return self._against_table(encoded, groups, terms)
        return [self._against_all(encoded, *group, terms) for group in groups]

    def score_all(
        self,
        encoded: EncodedEntities,
        known: Tensor,
        relations: Tensor,
        side: Side,
        terms: Iterable[Term] | None = None,
    ) -> Tensor:
        """Scores ``[B, U]`` of every encoded entity for queries of ids ``known[B]``, ``relations[B]``."""
        terms = tuple(terms or self.fusion.terms)
        views = {name: encoded.view(name, known, relations) for name in views_of(terms)}
        return self._against_all(encoded, views, relations, side, terms)

    def score_modal(
        self, head: ModalityEmbeddings, relations: Tensor, tail: ModalityEmbeddings, terms: Iterable[Term] | None = None
    ) -> Tensor:
        """Scores ``[...]`` of triples given by embeddings ``[..., e]``, ``relations[...]``; dimensions broadcast."""
        terms = tuple(terms or self.fusion.terms)
        heads, tails = (self.fusion.needed_views(modal, relations, views_of(terms)) for modal in (head, tail))
        return self.score_crossed([heads], relations, [tails], [(0, 0)], terms)[0]

    def score_encoded(self, encoded: EncodedEntities, triples: Tensor, terms: tuple[Term, ...]) -> Tensor:
        """Scores ``[B]`` of ``triples[B, 3]`` whose entities are encoded."""
        heads, relations, tails = triples.unbind(1)
        views = [{name: encoded.view(name, ids, relations) for name in views_of(terms)} for ids in (heads, tails)]
        return self.score_crossed([views[0]], relations, [views[1]], [(0, 0)], terms)[0]

    def score_crossed(
        self,
        heads: Sequence[Views],
        relations: Tensor,
        tails: Sequence[Views],
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

    def encode(self, ids: Iterable[Tensor] | None = None, without: Tensor | None = None) -> EncodedEntities:
        """Encode the entities ``ids``, by default all N; ``without``: train triples that pass no message."""
        return EncodedEntities(self.entities, self.fusion, ids, without)

    def everyone(self) -> EncodedEntities:
        """All N encoded entities; the stored ones if the model is frozen."""
        return self._frozen or self.encode()

    def freeze(self, encoded: EncodedEntities | None = None) -> "Model":
        """Switch to evaluation with every entity's vectors stored (``encoded``, if given), until ``train()``."""
        self.eval()
        with torch.no_grad():
            self._frozen = encoded or self.encode()
        return self

    def train(self, mode: bool = True) -> "Model":
        """Switch between training and evaluation; the frozen vectors are dropped."""
        self._frozen = None
        return super().train(mode)

    def interaction_of(self, term: Term) -> Interaction:
        """The interaction that scores a term."""
        return term.interaction or self.interaction

    def relation(self, term: Term, relations: Tensor, side: Side) -> Tensor:
        """Relation vectors ``[..., r]`` of a term; with reciprocal relations, head queries have their own."""
        inverse = self.config.reciprocal and side == "head"
        return take(self.relations[term.relation], relations + self.n_relations if inverse else relations)

    def roles(self, term: Term, side: Side) -> tuple[str, str, Side]:
        """Views of the known and the sought side, and the direction; if reciprocal, (?, r, t) is (t, r⁻¹, ?)."""
        if side == "tail" or self.config.reciprocal:
            return term.head, term.tail, "tail"
        return term.tail, term.head, "head"

    def query(self, known: Tensor, modality: str, relations: Tensor, side: Side) -> Tensor:
        """Query point ``[B, e]`` in one modality, near the vectors of the answers; only for query interactions."""
        assert isinstance(self.interaction, QueryInteraction)
        relation = self.relation(self.fusion.unimodal(modality), relations, side)
        direction: Side = "tail" if self.config.reciprocal else side
        return self.interaction.query(self.interaction.entity(known), relation, direction)

    def modality_weights(self, triples: Tensor) -> dict[str, Tensor] | None:
        """Weight ``[B]`` of each modality in ``triples[B, 3]``: the mean over head and tail; None without weights."""
        encode = self._frozen.modal.rows if self._frozen else self.entities.encode
        ends = (encode(triples[:, column]) for column in (HEAD, TAIL))
        heads, tails = (self.fusion.modality_weights(modal, triples[:, RELATION]) for modal in ends)
        return {m: (heads[m] + tails[m]) / 2 for m in heads} if heads and tails else None

    def _score_directed(
        self,
        known: Sequence[Views],
        sought: Sequence[Views],
        pairs: Sequence[tuple[int, int]],
        relations: Tensor,
        terms: tuple[Term, ...],
        side: Side,
    ) -> list[Tensor]:
        of_terms = []
        for term in terms:
            views = [ours[term.head] for ours in known], [theirs[term.tail] for theirs in sought]
            relation = self.relation(term, relations, side)
            of_terms.append(self.interaction_of(term).score_crossed(views[0], relation, views[1], pairs))
        return [self.fusion.combine(terms, scores, relations) for scores in zip(*of_terms, strict=True)]

    def _against_all(
        self, encoded: EncodedEntities, known: Views, relations: Tensor, side: Side, terms: tuple[Term, ...]
    ) -> Tensor:
        """Scores ``[B, U]``; relation-dependent views are computed once per distinct relation."""
        if views_of(terms) <= encoded.views.keys():
            return self._against_table(encoded, [(known, relations, side)], terms)[0]
        rows_of = [(relations == relation).nonzero().squeeze(1) for relation in relations.unique()]
        groups = [({name: view[rows] for name, view in known.items()}, relations[rows], side) for rows in rows_of]
        scores = torch.cat([self._against_table(encoded, [group], terms)[0] for group in groups])
        return scores[torch.cat(rows_of).argsort()]

    def _against_table(
        self, encoded: EncodedEntities, groups: Sequence[Queries], terms: tuple[Term, ...]
    ) -> list[Tensor]:
        """Scores ``[b, U]`` of groups of queries that share the table of each view, in one pass over it.

        If views depend on the relation, the table is that of the first relation.
        """
        _, relations, side = groups[0]
        of_terms = []
        for term in terms:
            table = encoded.everyone(self.roles(term, side)[1], relations[:1])
            queries = [self._queries(term, *group) for group in groups]
            of_terms.append(self.interaction_of(term).score_sides(queries, table))
        return [
            self.fusion.combine(terms, scores, relations.unsqueeze(1))
            for (_, relations, _), scores in zip(groups, zip(*of_terms, strict=True), strict=True)
        ]

    def _queries(self, term: Term, known: Views, relations: Tensor, side: Side) -> Query:
        """The interaction's query for a term: view of the known entities, relation vectors and direction."""
        view, _, direction = self.roles(term, side)
        return known[view], self.relation(term, relations, side), direction
