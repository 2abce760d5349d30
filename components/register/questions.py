"""The gate's queries: the development split, in the vocabulary that both models share."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from mmkgc.components.kge.evaluation.ranks import Scorer
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL, Graph, Vocabulary, no_triples, without

UNKNOWN = -1


@dataclass(frozen=True)
class Contender:
    """A model with its vocabularies and the triples that it was trained on, in its own ids."""

    label: str
    model: Scorer
    entities: Vocabulary
    relations: Vocabulary
    train: Tensor

    def within(self, entities: Vocabulary, relations: Vocabulary) -> Scorer:
        """The model with inputs and outputs in the ids of other vocabularies, which it must cover."""
        if (entities.keys, relations.keys) == (self.entities.keys, self.relations.keys):
            return self.model
        return InVocabulary(self.model, _ids(entities, self.entities), _ids(relations, self.relations))


class InVocabulary(nn.Module):
    """A model with mapped ids: ``entity`` ``[N']`` and ``relation`` ``[R']`` map outer ids to the model's ids."""

    def __init__(self, model: Scorer, entity: Tensor, relation: Tensor) -> None:
        super().__init__()
        self.model: Scorer
        self.model, self.entity, self.relation = model, entity, relation

    def freeze(self) -> "InVocabulary":
        """Freeze the wrapped model."""
        self.model.freeze()
        return self

    def score_tails(self, heads: Tensor, relations: Tensor) -> Tensor:
        """Scores ``[B, N']`` of the outer vocabulary's entities as tails."""
        return self.model.score_tails(self.entity[heads], self.relation[relations])[:, self.entity]

    def score_heads(self, relations: Tensor, tails: Tensor) -> Tensor:
        """Scores ``[B, N']`` of the outer vocabulary's entities as heads."""
        return self.model.score_heads(self.relation[relations], self.entity[tails])[:, self.entity]


@dataclass(frozen=True)
class Questions:
    """The gate's queries, ``graph.valid``; the other triples of ``graph`` serve as filter and for the slices.

    Neither queries nor filter contain test triples: a promotion is a model selection, which must not use test data.

    ``uncovered`` lists, per model, the entities and relations of the development split that it does not know.
    ``left_out`` counts the triples with such a name, ``trained_on`` those dropped because a model was trained on them.
    """

    graph: Graph
    uncovered: dict[str, tuple[str, ...]]
    left_out: int
    trained_on: int


def shared_questions(graph: Graph, contenders: tuple[Contender, ...]) -> Questions:
    """Development triples of ``graph`` whose entities and relations all models know and none was trained on."""
    entities = _shared(graph.entities, [contender.entities for contender in contenders])
    relations = _shared(graph.relations, [contender.relations for contender in contenders])
    valid = _translated(graph.valid, graph.entities, graph.relations, entities, relations)
    covered = _complete(valid)
    trained = [_translated(c.train, c.entities, c.relations, entities, relations) for c in contenders]
    fresh = without(covered, torch.cat(trained))
    known = _translated(graph.known, graph.entities, graph.relations, entities, relations)
    others = torch.cat([_complete(triples) for triples in [known, valid, *trained]])
    shared = replace(
        graph,
        entities=entities,
        relations=relations,
        train=_complete(_translated(graph.train, graph.entities, graph.relations, entities, relations)),
        valid=fresh,
        test=covered[:0],
        known=without_test(graph, others, entities, relations),
        types=None,
        false=no_triples(),
        confidence=None,
    )
    return Questions(
        graph=shared,
        uncovered={c.label: words for c in contenders if (words := _unknown_words(graph, c))},
        left_out=len(valid) - len(covered),
        trained_on=len(covered) - len(fresh),
    )


def without_test(graph: Graph, triples: Tensor, entities: Vocabulary, relations: Vocabulary) -> Tensor:
    """Return the rows of ``triples`` ``[T, 3]``, in the ids of other vocabularies, that are not test triples."""
    return without(triples, _complete(_translated(graph.test, graph.entities, graph.relations, entities, relations)))


def translated(
    triples: Tensor, entities: Vocabulary, relations: Vocabulary, to_entities: Vocabulary, to_relations: Vocabulary
) -> Tensor:
    """The ``triples`` ``[T, 3]`` whose names are in both vocabularies, in the ids of the others."""
    return _complete(_translated(triples, entities, relations, to_entities, to_relations))


def _shared(vocabulary: Vocabulary, others: list[Vocabulary]) -> Vocabulary:
    """The entries of ``vocabulary`` that all others have too, in its order."""
    if all(other.keys == vocabulary.keys for other in others):
        return vocabulary
    kept = [index for index, key in enumerate(vocabulary.keys) if all(key in other.ids for other in others)]
    return Vocabulary(tuple(vocabulary.keys[i] for i in kept), tuple(vocabulary.names[i] for i in kept))


def _unknown_words(graph: Graph, contender: Contender) -> tuple[str, ...]:
    """Names of entities and relations of the development split that a contender does not know."""
    entities = torch.unique(graph.valid[:, [HEAD, TAIL]]).tolist()
    relations = torch.unique(graph.valid[:, RELATION]).tolist()
    return (
        *(graph.entities.names[e] for e in entities if graph.entities.keys[e] not in contender.entities.ids),
        *(graph.relations.names[r] for r in relations if graph.relations.keys[r] not in contender.relations.ids),
    )


def _ids(source: Vocabulary, target: Vocabulary) -> Tensor:
    """Id in ``target`` of every entry of ``source``, or ``UNKNOWN``."""
    return torch.tensor([target.ids.get(key, UNKNOWN) for key in source.keys])


def _translated(
    triples: Tensor, entities: Vocabulary, relations: Vocabulary, to_entities: Vocabulary, to_relations: Vocabulary
) -> Tensor:
    """Triples ``[T, 3]`` in the ids of other vocabularies; ``UNKNOWN`` for missing entries."""
    if (entities.keys, relations.keys) == (to_entities.keys, to_relations.keys):
        return triples
    entity, relation = _ids(entities, to_entities), _ids(relations, to_relations)
    return torch.stack([entity[triples[:, HEAD]], relation[triples[:, RELATION]], entity[triples[:, TAIL]]], dim=1)


def _complete(triples: Tensor) -> Tensor:
    return triples[(triples != UNKNOWN).all(dim=1)]
