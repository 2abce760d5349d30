"""Scores of blocks of negatives, and of their positives."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from mmkgc.components.kge.encoded_entities import EncodedEntities
from mmkgc.components.kge.fusions.base import Term, views_of
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL
from mmkgc.components.kge.grouping import group_consecutive
from mmkgc.components.kge.interactions.base import Query, Side
from mmkgc.components.kge.kernels.rows import take
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.negatives.samples import EntityNegatives, NegativeBlock, Negatives
from mmkgc.components.kge.tensors import joined

Scores = tuple[Tensor, Tensor]  # of positives and of negatives


def score_blocks(
    model: Model,
    encoded: EncodedEntities,
    triples: Tensor,
    blocks: Iterable[NegativeBlock],
    terms: Iterable[Term] | None = None,
) -> Scores:
    """Scores of the positives ``[b]`` and negatives ``[b, K]`` of blocks, one after another.

    ``triples[B, 3]``: the batch. Entities that replace one side are answers to a query and are looked up in one pass
    over the table of entities. All others are scored as triples, with reciprocal relations by the mean of both
    directions.
    """
    terms = tuple(terms or model.fusion.terms)
    scores: list[Scores] = []
    for alike in group_consecutive(blocks, _together):
        if alike[0].shares_pool and views_of(terms) <= encoded.views.keys():
            scores.append(_score_pool(model, encoded, triples, alike[0], terms))
        elif alike[0].replaces_one_side:
            scores.append(_score_answers(model, encoded, triples, alike, terms))
        else:
            scores += _score_triples(model, encoded, triples, alike, terms)
    positive, negative = zip(*scores, strict=True)
    return joined(positive), joined(negative)


def _together(one: NegativeBlock, other: NegativeBlock) -> bool:
    """Whether two blocks are scored together: both answer queries, or both have the same positives."""
    if one.shares_pool or other.shares_pool:
        return False
    if one.replaces_one_side or other.replaces_one_side:
        return one.replaces_one_side and other.replaces_one_side
    same = one.positive_head is other.positive_head and one.positive_tail is other.positive_tail
    same = same and one.positive_terms is other.positive_terms
    return same and one.rows is other.rows


def _score_triples(
    model: Model, encoded: EncodedEntities, triples: Tensor, blocks: Sequence[NegativeBlock], terms: tuple[Term, ...]
) -> list[Scores]:
    """Scores of blocks of the same positives; entities in several blocks are looked up once."""
    first, own = blocks[0], triples[blocks[0].rows]
    apart = first.positive_terms
    relations = own[:, RELATION]
    heads: list[Negatives] = [first.positive_head or EntityNegatives(own[:, [HEAD]])]
    tails: list[Negatives] = [first.positive_tail or EntityNegatives(own[:, [TAIL]])]
    pairs = [] if apart else [(0, 0)]
    pairs += [(_place(block.head, heads), _place(block.tail, tails)) for block in blocks]
    of_heads, of_tails = {term.head for term in terms}, {term.tail for term in terms}
    if model.config.reciprocal:  # the tail is then also the known side
        of_heads = of_tails = of_heads | of_tails
    sides = (heads, of_heads), (tails, of_tails)
    views = [[_views(encoded, entities, relations, names) for entities in side] for side, names in sides]
    scores = model.score_crossed(views[0], relations.unsqueeze(1), views[1], pairs, terms)
    positive = model.score_encoded(encoded, own, apart) if apart else scores.pop(0).squeeze(1)
    return [(positive, negative) for negative in scores]


def _score_answers(
    model: Model, encoded: EncodedEntities, triples: Tensor, blocks: Sequence[NegativeBlock], terms: tuple[Term, ...]
) -> Scores:
    """Scores of blocks that answer queries; the gold answer is scored as the first candidate."""
    scores = []
    for term in terms:
        questions = [_question(model, encoded, triples[block.rows], block, term) for block in blocks]
        of_term = []
        for alike in group_consecutive(questions, lambda one, other: one[1] is other[1]):
            queries, (table, *_), index = zip(*alike, strict=True)
            of_term.append(model.interaction_of(term).score_candidates(queries, table, joined(index)))
        scores.append(joined(of_term))
    relations = joined([triples[block.rows, RELATION] for block in blocks])
    positive, negative = model.fusion.combine(terms, scores, relations.unsqueeze(1)).tensor_split([1], dim=1)
    return positive.squeeze(1), negative


def _score_pool(
    model: Model, encoded: EncodedEntities, triples: Tensor, block: NegativeBlock, terms: tuple[Term, ...]
) -> Scores:
    """Scores of a block whose positives share a pool of negatives: each query is compared with the pool once."""
    heads, relations, tails = triples[block.rows].unbind(1)
    side: Side = "tail" if block.head is None else "head"
    known, gold, negatives = (heads, tails, block.tail) if side == "tail" else (tails, heads, block.head)
    assert isinstance(negatives, EntityNegatives)
    assert negatives.pool is not None
    assert negatives.places is not None
    answers, pool = encoded.index(gold).unsqueeze(1), encoded.index(negatives.pool)
    right, wrong = [], []
    for term in terms:
        ours, theirs, direction = model.roles(term, side)
        query = encoded.view(ours, known, relations), model.relation(term, relations, side), direction
        table, interaction = encoded.views[theirs], model.interaction_of(term)
        right.append(interaction.score_candidates([query], table, answers))
        wrong += interaction.score_sides([query], take(table, pool))
    positive, negative = (model.fusion.combine(terms, scores, relations.unsqueeze(1)) for scores in (right, wrong))
    return positive.squeeze(1), negative.gather(1, negatives.places)


def _question(
    model: Model, encoded: EncodedEntities, triples: Tensor, block: NegativeBlock, term: Term
) -> tuple[Query, Tensor, Tensor]:
    """A term's query for a block of one side, a table ``[U, e]`` and the rows of the answers in it ``[b, 1 + K]``."""
    heads, relations, tails = triples.unbind(1)
    side: Side = "tail" if block.head is None else "head"
    known, gold, others = (heads, tails, block.tail) if side == "tail" else (tails, heads, block.head)
    assert isinstance(others, EntityNegatives)
    ours, theirs, direction = model.roles(term, side)
    query = encoded.view(ours, known, relations), model.relation(term, relations, side), direction
    return query, *_candidates(encoded, theirs, others.after(gold), relations)


def _candidates(
    encoded: EncodedEntities, name: str, entities: EntityNegatives, relations: Tensor
) -> tuple[Tensor, Tensor]:
    """A table ``[U, e]`` and rows in it ``[b, K]``: the view of ``entities`` in triples with ``relations[b]``."""
    if name in encoded.views and not entities.parts:
        return encoded.views[name], encoded.index(entities.ids)
    if name in encoded.modal.vectors:
        return encoded.modal[name], encoded.index(entities.of(name))
    mixed = encoded.modal.pick({m: encoded.index(entities.of(m)) for m in encoded.modal.vectors})
    vectors = encoded.fusion.views(mixed, relations.unsqueeze(1))[name]
    return vectors.flatten(0, 1), torch.arange(entities.ids.numel(), device=entities.ids.device).view_as(entities.ids)


def _views(encoded: EncodedEntities, entities: Negatives, relations: Tensor, names: set[str]) -> Mapping[str, Tensor]:
    """Vectors ``[b, K, e]`` of the views ``names``, in triples with ``relations[b]``."""
    if isinstance(entities, EntityNegatives):
        return {name: take(*_candidates(encoded, name, entities, relations)) for name in names}
    return encoded.fusion.needed_views(entities.modal, relations.unsqueeze(1), names)


def _place(entities: Negatives | None, seen: list[Negatives]) -> int:
    """Position in ``seen`` of a side's entities, appended if new; the positives' own are the first."""
    if entities is None:
        return 0
    places = [place for place, other in enumerate(seen) if other is entities]
    if not places:
        seen.append(entities)
    return places[0] if places else len(seen) - 1
