"""The split into train, valid and test, such that held-out facts can be inferred from train."""

from collections import Counter
from itertools import chain
from random import Random

from mmkgc.components.dataset.countries.facts import Triple

SEED = 20  # arbitrary; with this one, the first test queries, shown as examples, are easy to judge
SHARE = 0.2  # of each relation's facts, half for valid and half for test
LEFT = 2  # facts that train keeps about every entity of a held-out triple

Fact = tuple[Triple, ...]


def split(triples: list[Triple]) -> tuple[list[Triple], list[Triple], list[Triple]]:
    """Train, in the given order, and valid and test, shuffled: about 80, 10 and 10 per cent.

    A border and its inverse are one fact and stay together. No entity of a held-out triple is left with fewer than
    ``LEFT`` facts in train, so capitals, known from one fact or two, are never held out.
    """
    random = Random(SEED)
    facts = _facts(triples)
    mentions = Counter(chain.from_iterable(_ends(fact) for fact in facts))
    held: list[Fact] = []
    for relation in sorted({triple.relation for triple in triples}):
        of_relation = [fact for fact in facts if fact[0].relation == relation]
        held += _hold_out(of_relation, round(SHARE * len(of_relation)), mentions, random)
    valid, test = ([triple for fact in part for triple in fact] for part in (held[::2], held[1::2]))
    random.shuffle(valid)
    random.shuffle(test)
    out = {*valid, *test}
    return [triple for triple in triples if triple not in out], valid, test


def _facts(triples: list[Triple]) -> list[Fact]:
    """Single triples, or pairs of a triple and its inverse if both are given."""
    known = set(triples)
    return [
        (triple, triple.swapped) if triple.swapped in known else (triple,)
        for triple in triples
        if triple.swapped not in known or triple.head < triple.tail
    ]


def _ends(fact: Fact) -> tuple[str, str]:
    return fact[0].head, fact[0].tail


def _hold_out(facts: list[Fact], number: int, mentions: Counter[str], random: Random) -> list[Fact]:
    """Choose at most ``number`` random facts to hold out, and update train's ``mentions`` of each entity."""
    held: list[Fact] = []
    for fact in random.sample(facts, len(facts)):
        if len(held) < number and all(mentions[end] > LEFT for end in _ends(fact)):
            mentions.subtract(_ends(fact))
            held.append(fact)
    return held
