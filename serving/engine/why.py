"""Explains one answer: similar facts, rules, modality weights, and what it would be without an image or a text."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mmkgc.components.kge.encoded_entities import EncodedEntities
from mmkgc.components.kge.entity_encoders.base import STRUCTURE, ModalityEmbeddings
from mmkgc.components.kge.evaluation.calibration import probability
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL, Side, slot_of
from mmkgc.components.kge.rules import Rules
from mmkgc.components.kge.vocabulary import PARTS
from mmkgc.serving.api.protocol import Direction, ErrorCode, QueryError
from mmkgc.serving.engine.engine import Engine
from mmkgc.serving.engine.topk import top_k

MOST_RULES = 5
LEAST_SUPPORT, LEAST_CONFIDENCE = 3, 0.1
MOST_PATHS = 1_000_000  # along a rule's body; more go through hubs such as a gender, which explain nothing
SHOWN = 3  # answers without a modality
DECIMALS = 6
Json = dict[str, Any]


class Asked(NamedTuple):
    """A triple ``[3]``, the side whose entity was asked for, the entities that are left out, and whether it is known.

    Left out are the other answers that are known, or known to be false, and entities of types that the relation never
    has there.
    """

    triple: Tensor
    side: Side
    left_out: Tensor
    is_known: bool

    @property
    def given(self) -> Tensor:
        """The entity ``[1]`` that the query gives."""
        return self.triple[HEAD if self.side == "tail" else TAIL][None]

    @property
    def answer(self) -> Tensor:
        """The entity ``[1]`` that answers it."""
        return self.triple[TAIL if self.side == "tail" else HEAD][None]


class Why:
    """Explains answers of an engine. Rules are counted in the bundle's train triples."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.bundle, self.model = engine, engine.bundle, engine.bundle.model

    @torch.inference_mode()
    def explain(self, head: str | None, relation: str | None, tail: str | None) -> Json:
        """Explain the triple, or the first answer to the query that leaves out one of its parts.

        Answers that the graph holds already are passed over. The entity of the side that is asked for (the tail, if all
        three parts are given) is ranked among those that the graph does not hold, by itself (``rank``), and again
        without the images, texts, … of both entities (``without``). ``rules``: bodies that hold for the pair, with the
        number of other pairs for which the body holds, and of those for which the relation holds too. Raises
        ``QueryError`` for unknown labels, or if there is no answer.
        """
        query = {"head": head, "relation": relation, "tail": tail}
        direction, triple = self._answered(query)
        asked = self._asked(triple, "head" if direction is Direction.HEAD else "tail")
        (scored,) = self.engine.answer([dict(zip(PARTS, self._keys(triple), strict=True)) | {"explain": True}])
        everyone = self.model.everyone()
        return {
            "direction": direction.value,
            **{part: scored[part] for part in PARTS},
            "known": scored["known"],
            **self._ranked(everyone, asked),
            "candidates": len(self.bundle.entities) - len(asked.left_out),
            "shares": scored["shares"],
            "support": scored["support"],
            "rules": list(self._rules(triple)),
            "without": [
                {"modalities": list(hidden), **self._ranked(self._without(everyone, asked, hidden), asked)}
                for hidden in self._hidden(asked)
            ],
        }

    def _answered(self, query: Mapping[str, str | None]) -> tuple[Direction, Tensor]:
        """What is asked for, and the triple ``[3]`` with the first answer in its place."""
        (answer,) = self.engine.answer([{**query, "k": 1}])
        if "error" in answer:
            error = answer["error"]
            raise QueryError(ErrorCode(error["code"]), error["message"], error["nearest"])
        direction = Direction(answer["direction"])
        if direction is not Direction.TRIPLE:
            if not answer["predictions"]:
                raise QueryError(ErrorCode.UNSUPPORTED, "the graph holds every answer; give all three parts")
            answer[direction.value] = answer["predictions"][0]
        resolver = self.engine.resolver
        ids = [resolver.entities, resolver.relations, resolver.entities]
        keys = [answer[part]["key"] for part in PARTS]
        return direction, torch.tensor([labels.resolve(key) for labels, key in zip(ids, keys, strict=True)])

    def _asked(self, triple: Tensor, side: Side) -> Asked:
        asked = Asked(triple, side, triple[:0], bool(self.bundle.known.contains(triple[None])))
        judged = (self.bundle.known, self.engine.scorer.false)
        left_out = torch.cat([facts.answers(asked.given, triple[RELATION][None], side)[1] for facts in judged])
        if int(triple[RELATION]) not in self.engine.scorer.reflexive:
            left_out = torch.cat([left_out, asked.given])
        others = self.engine.scorer.usual_types.others(int(triple[RELATION]), side)
        if others is not None:
            left_out = torch.cat([left_out, torch.from_numpy(others).nonzero().flatten()])
        return asked._replace(left_out=left_out[left_out != asked.answer].unique())

    def _ranked(self, encoded: EncodedEntities, asked: Asked) -> Json:
        """Score, probability and rank of the answer, and the first answers, where entities are ``encoded`` so.

        A known answer has no probability.
        """
        relation = asked.triple[RELATION][None]
        scores = self.model.score_all(encoded, asked.given, relation, asked.side)[0].float()
        scores[asked.left_out] = -torch.inf
        own = scores[asked.answer]
        others = scores.index_fill(0, asked.answer, -torch.inf)
        margin = own - others.max()
        calibration, slot = None if asked.is_known else self.bundle.calibration, slot_of(relation, asked.side)
        likely = calibration and probability(calibration, own, slot, margin.nan_to_num(posinf=0.0)).item()
        first = top_k(scores[None].numpy(), SHOWN)[0].tolist()
        return {
            "score": round(own.item(), DECIMALS),
            "probability": likely and round(likely, DECIMALS),
            "rank": 1 + int((others > own).sum()),
            "first": [self.engine.resolver.entities.item(index) for index in first if index >= 0],
        }

    def _hidden(self, asked: Asked) -> Iterator[tuple[str, ...]]:
        """Each modality that one of both entities has, and all of them together."""
        ends = asked.triple[[HEAD, TAIL]]
        features = [m for m in self.model.entities.modalities if m != STRUCTURE]
        had = [m for m in features if self.model.entities.raw(m).mask[ends].any()]
        yield from ((m,) for m in had)
        if len(had) > 1:
            yield tuple(had)

    def _without(self, everyone: EncodedEntities, asked: Asked, hidden: Iterable[str]) -> EncodedEntities:
        """The encoded entities, of which those of the triple lack the modalities ``hidden``."""
        ends = asked.triple[[HEAD, TAIL]].unique()
        own = everyone.modal.rows(ends)
        vectors, present = dict(own.vectors), dict(own.present)
        for modality in hidden:
            vector, counts = self._stand_in(modality)
            had = self.model.entities.raw(modality).mask[ends]
            vectors[modality] = torch.where(had.unsqueeze(1), vector, own.vectors[modality])
            present[modality] = torch.where(had, counts, own.present[modality])
        return everyone.replaced(ends, ModalityEmbeddings(vectors, present, own.ids))

    def _stand_in(self, modality: str) -> tuple[Tensor, Tensor]:
        """The vector ``[1, e]`` that a new entity without the modality has, and whether it counts.

        A new entity has at least one modality. If the model reads no other, the vector is that of an entity of the
        graph that lacks it; if all have it, or each has a vector of its own instead, it is zero and does not count.
        """
        encoder = self.model.entities
        for other in encoder.modalities:
            if other not in (STRUCTURE, modality):
                new = encoder.encode_new({other: torch.zeros(1, encoder.raw(other).dimension)})
                return new.vectors[modality], new.present[modality]
        own, lacking = self.model.everyone().modal, (~encoder.raw(modality).mask).nonzero()[:1, 0]
        if len(lacking) and self.model.config.missing == "learned":
            return own.vectors[modality][lacking], own.present[modality][lacking]
        return torch.zeros_like(own.vectors[modality][:1]), torch.zeros(1, dtype=torch.bool)

    def _rules(self, triple: Tensor) -> Iterator[Json]:
        """Rules whose bodies hold for the pair, the most confident first; the triple itself is not counted."""
        head, relation, tail = triple.tolist()
        trained = int((self.bundle.train == triple).all(dim=1).any())
        found = []
        for body, middle in self._counted.between(head, tail).items():
            if body == (relation,) or self._counted.paths(body) > MOST_PATHS:
                continue
            support, pairs = self._counted.counts(relation, body)
            support, pairs = support - trained, pairs - 1
            if support >= LEAST_SUPPORT and support / pairs >= LEAST_CONFIDENCE:
                found.append((support / pairs, support, pairs, body, middle))
        found.sort(key=lambda rule: (-rule[0], -rule[1], len(rule[3])))
        for _, support, pairs, body, middle in found[:MOST_RULES]:
            stops = (head, tail) if middle is None else (head, middle, tail)
            yield {"facts": list(self._facts(stops, body)), "support": support, "pairs": pairs}

    @cached_property
    def _counted(self) -> Rules:
        return Rules(self.bundle.train, len(self.bundle.entities), len(self.bundle.relations))

    def _facts(self, stops: Sequence[int], body: Sequence[int]) -> Iterator[Json]:
        """The facts along a body: its relation i leads from stop i to stop i + 1, or back if it is an inverse."""
        count = len(self.bundle.relations)
        for start, end, relation in zip(stops, stops[1:], body, strict=False):
            ends = (start, end) if relation < count else (end, start)
            items = [self.engine.resolver.entities.item(index) for index in ends]
            middle = self.engine.resolver.relations.item(relation % count)
            yield {"head": items[0], "relation": middle, "tail": items[1]}

    def _keys(self, triple: Tensor) -> tuple[str, str, str]:
        head, relation, tail = triple.tolist()
        entities, relations = self.bundle.entities.keys, self.bundle.relations.keys
        return entities[head], relations[relation], entities[tail]
