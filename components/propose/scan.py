"""Scores the queries of a relation in blocks and keeps the best answers."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.evaluation.ranks import NotFinite
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL, KnownTriples
from mmkgc.components.propose.best import Best
from mmkgc.components.propose.questions import Pairs, Questions
from mmkgc.components.runtime.files import atomic_path, set_aside

Lists = Mapping[str, Best]
PROPOSALS, HIDDEN, POPULARITY = "proposals", "hidden", "popularity"
"""Lists that are kept: proposals; proposals with a filter of train alone; the same of the popularity baseline."""
DEPTH = 4
"""How many times longer the second list is: probabilities are fitted on it, also below the proposals."""


class Scan:
    """Scores pairs with a frozen model; ``left_out``: further triples ``[L, 3]`` that must not be proposed.

    A pair's score is the score that the serving engine gives to this answer of the same query.
    """

    def __init__(self, bundle: Bundle, questions: Questions, left_out: Tensor) -> None:
        self.model, self.questions, self.known = bundle.model.freeze(), questions, bundle.known
        self.sizes = len(bundle.entities), len(bundle.relations)
        self.train = KnownTriples(bundle.train, *self.sizes)
        self.not_hidden = KnownTriples(torch.cat([bundle.train, bundle.false]), *self.sizes)
        self.excluded = KnownTriples(torch.cat([bundle.known.triples, bundle.false, left_out]), *self.sizes)

    @cached_property
    def held_out(self) -> Tensor:
        """Known triples that the model was not fitted on, ``[T, 3]``."""
        return self.known.triples[~self.train.contains(self.known.triples)]

    @torch.inference_mode()
    def block(self, pairs: Pairs, asked: Tensor, budget: int, batch_size: int) -> Lists:
        """The best answers of the queries about ``asked [Q]``; raises ``NotFinite``."""
        lists = {name: Best.none(length) for name, length in _lengths(budget).items()}
        for batch in asked.split(batch_size) if len(pairs) else ():
            scores = self._scores(pairs, batch)
            found = {HIDDEN: scores, POPULARITY: self._popularity(pairs, batch)}
            for table in found.values():
                self._sink(table, pairs, batch, self.not_hidden)
            found[PROPOSALS] = self._sink_full(scores.clone(), pairs, batch)
            self._sink(found[PROPOSALS], pairs, batch, self.excluded)
            lists = {name: best.with_block(found[name], pairs, batch) for name, best in lists.items()}
        return lists

    @torch.inference_mode()
    def margins(self, triples: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """Scores and margins ``[L]`` of ``triples`` ``[L, 3]`` of one relation, asked for as in ``block``.

        The margin is over the best other candidate of the query that may be proposed.
        """
        asked, sought = (HEAD, TAIL) if pairs.sought == "tail" else (TAIL, HEAD)
        given, relations = triples[:, asked].contiguous(), triples[:, RELATION]
        score = self.model.score_tails if pairs.sought == "tail" else self.model.score_heads
        everyone = (score(given, relations) if pairs.sought == "tail" else score(relations, given)).float()
        own = everyone.gather(1, triples[:, sought].unsqueeze(1)).squeeze(1)
        rivals = everyone[:, pairs.answers]
        self._sink(rivals, pairs, given, self.excluded)
        rivals[_places(torch.arange(len(triples)), triples[:, sought].contiguous(), pairs.answers)] = -torch.inf
        best = rivals.amax(dim=1)
        return own, torch.where(best.isfinite(), own - best, 0.0)

    def _scores(self, pairs: Pairs, asked: Tensor) -> Tensor:
        """Scores ``[B, A]`` of all answers."""
        relations = torch.full_like(asked, pairs.relation)
        model = self.model
        everyone = (
            model.score_tails(asked, relations) if pairs.sought == "tail" else model.score_heads(relations, asked)
        )
        scores = everyone[:, pairs.answers].float()
        if not scores.isfinite().all():
            raise NotFinite("the model's scores are not finite (NaN or infinity); training diverged")
        return scores

    def _popularity(self, pairs: Pairs, asked: Tensor) -> Tensor:
        """Product of the head count and the tail count in the relation's train triples, float ``[B, A]``."""
        triples = self.train.triples[self.train.triples[:, RELATION] == pairs.relation]
        heads, tails = (torch.bincount(triples[:, side], minlength=self.sizes[0]).float() for side in (HEAD, TAIL))
        ours, theirs = (heads, tails) if pairs.sought == "tail" else (tails, heads)
        return torch.outer(ours[asked], theirs[pairs.answers])

    def _sink(self, scores: Tensor, pairs: Pairs, asked: Tensor, known: KnownTriples) -> None:
        """Set known answers to −∞, and each query's own entity unless train has loops of the relation."""
        rows, answers = known.answers(asked, torch.full_like(asked, pairs.relation), pairs.sought)
        scores[_places(rows, answers, pairs.answers)] = -torch.inf
        if pairs.relation not in self.questions.reflexive:
            scores[_places(torch.arange(len(asked)), asked, pairs.answers)] = -torch.inf

    def _sink_full(self, scores: Tensor, pairs: Pairs, asked: Tensor) -> Tensor:
        """Set pairs to −∞ if one of their entities already has its only answer, in any split."""
        for side, entities in self.questions.full(pairs.relation, self.known):
            if side == pairs.sought:
                scores[:, torch.isin(pairs.answers, entities)] = -torch.inf
            else:
                scores[torch.isin(asked, entities)] = -torch.inf
        return scores


def save(path: Path, lists: Lists) -> None:
    """Write the lists of a block; the file is whole or absent."""
    tensors = {f"{name}.pairs": best.pairs for name, best in lists.items()}
    tensors |= {f"{name}.scores": best.scores for name, best in lists.items()}
    tensors |= {f"{name}.margins": best.margins for name, best in lists.items()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary)


def is_whole(path: Path) -> bool:
    """Whether ``save`` has written the file; a damaged one is set aside."""
    if not path.exists():
        return False
    try:
        load(path, 0)
    except (SafetensorError, KeyError) as error:
        set_aside(path, str(error), "its questions are asked again")
        return False
    return True


def load(path: Path, budget: int) -> Lists:
    """Read what ``save`` wrote."""
    tensors = load_file(path)
    return {
        name: Best(length, *(tensors[f"{name}.{part}"] for part in ("pairs", "scores", "margins")))
        for name, length in _lengths(budget).items()
    }


def _lengths(budget: int) -> dict[str, int]:
    """The number of pairs that each list keeps."""
    return {PROPOSALS: budget, HIDDEN: DEPTH * budget, POPULARITY: budget}


def _places(rows: Tensor, entities: Tensor, among: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns of the ``entities`` that occur in the ascending ids ``among``."""
    columns = torch.searchsorted(among, entities).clamp(max=len(among) - 1)
    there = among[columns] == entities
    return rows[there], columns[there]
