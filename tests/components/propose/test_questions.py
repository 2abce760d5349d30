"""Peers, functional relations, and which pairs are asked."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkgc.components.kge.graph import KnownTriples
from mmkgc.components.propose.config import ProposeConfig
from mmkgc.components.propose.questions import Questions

N, R = 7, 3
TRIPLES = st.lists(
    st.tuples(st.integers(0, N - 1), st.integers(0, R - 1), st.integers(0, N - 1)), min_size=1, unique=True
)
TYPES = st.none() | st.lists(st.sampled_from(["town", "river", ""]), min_size=N, max_size=N)


def shares_by_hand(triples, types, relation, column):
    """The formula of the module, with sets."""
    slots = {e: {(r, side) for h, r, t in triples for side, end in ((0, h), (2, t)) if end == e} for e in range(N)}
    marks = {e: slots[e] | ({types[e]} if types and types[e] else set()) for e in range(N)}
    wanted = (relation, column)

    def given_mark(mark):
        peers = [e for e in range(N) if mark in marks[e]]
        return sum(wanted in slots[e] for e in peers) / len(peers)

    return [np.mean([given_mark(mark) for mark in marks[e]]) if marks[e] else 0.0 for e in range(N)]


@settings(deadline=None)
@given(TRIPLES, TYPES)
def test_peer_shares_are_those_of_the_formula(triples, types):
    questions = Questions(torch.tensor(triples), types, N, R, ProposeConfig())
    for relation in range(R):
        for column in (0, 2):
            wanted = shares_by_hand(triples, types, relation, column)
            assert questions.peer_share(relation, column) == pytest.approx(wanted)


@settings(deadline=None)
@given(TRIPLES, TYPES, st.sampled_from([0.0, 0.1, 0.5]))
def test_what_fills_a_slot_is_asked_unless_it_is_functional(triples, types, peers):
    questions = Questions(torch.tensor(triples), types, N, R, ProposeConfig(peers=peers, functional=1.0))
    for relation in range(R):  # with 1.0 and the imagined exception no relation is functional
        pairs = questions.pairs(relation)
        if peers == 0:
            assert {h for h, r, _ in triples if r == relation} <= set(pairs.heads.tolist())
        assert len(pairs.asked) == min(len(pairs.heads), len(pairs.tails))


def test_who_has_its_one_capital_is_not_asked_for_another():
    """Ten countries, nine with a capital; the eleventh entity is a river."""
    triples = [(country, 0, 10 + country) for country in range(9)]
    types = ["country"] * 10 + ["city"] * 10 + ["river"]
    train = torch.tensor(triples)
    questions = Questions(train, types, 21, 1, ProposeConfig(functional=0.9))
    pairs = questions.pairs(0)
    assert pairs.heads.tolist() == [9]
    assert pairs.tails.tolist() == [19]
    known = KnownTriples(torch.tensor([*triples, (9, 0, 19)]), 21, 1)
    full = {side: entities.tolist() for side, entities in questions.full(0, known)}
    assert full == {"head": list(range(10)), "tail": list(range(10, 20))}


def test_a_handful_of_triples_does_not_make_a_relation_functional():
    train = torch.tensor([(country, 0, 10 + country) for country in range(3)])
    questions = Questions(train, ["country"] * 10 + ["city"] * 10, 20, 1, ProposeConfig())
    assert list(questions.full(0, KnownTriples(train, 20, 1))) == []


def test_the_side_with_fewer_entities_is_asked():
    train = torch.tensor([(person, 0, 20 + person % 2) for person in range(20)] + [(0, 0, 21)] * 1)
    questions = Questions(train, ["person"] * 20 + ["sex"] * 2, 22, 1, ProposeConfig(functional=1.0))
    pairs = questions.pairs(0)
    assert pairs.sought == "head"
    assert pairs.asked.tolist() == [20, 21]
    assert pairs.answers.tolist() == list(range(20))
