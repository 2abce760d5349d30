"""Patterns of relations against their definition, written out over sets of triples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkgc.components.dataset import proposed_split
from mmkgc.components.dataset.patterns import FEWEST, SHARE, patterns, revealed
from mmkgc.components.dataset.proposed_split import propose

IDS = st.integers(0, 5)
GRAPHS = st.lists(st.tuples(IDS, st.integers(0, 2), IDS), min_size=1, max_size=80, unique=True)


def array(triples):
    return np.array(triples, np.int64).reshape(-1, 3)


def by_definition(triples):
    found = set()
    plain = {(h, r, t) for h, r, t in triples if h != t}
    sizes = {r: sum(one[1] == r for one in plain) for r in range(3)}
    for r in range(3):
        for s in range(3):
            of_r = [(h, t) for h, one, t in plain if one == r]
            if min(sizes[r], sizes[s]) < FEWEST:
                continue
            inverse = sum((t, s, h) in plain for h, t in of_r)
            same = sum((h, s, t) in plain for h, t in of_r)
            if inverse >= SHARE * min(sizes[r], sizes[s]):
                found.add(("symmetric" if r == s else "inverse", r, s, inverse / sizes[r]))
            if r != s and same >= SHARE * max(sizes[r], sizes[s]):
                found.add(("duplicate", r, s, same / sizes[r]))
    return found


@settings(deadline=None)
@given(GRAPHS)
def test_patterns_are_those_of_the_definition(triples):
    assert {tuple(pattern) for pattern in patterns(array(triples))} == by_definition(triples)


@settings(deadline=None)
@given(GRAPHS, GRAPHS)
def test_a_test_triple_is_revealed_if_a_linked_relation_repeats_it_in_train(train, test):
    found = patterns(array(train + test))
    told = set(train)

    def is_revealed(h, r, t):
        return any(
            ((h, p.other, t) if p.kind == "duplicate" else (t, p.other, h)) in told for p in found if p.relation == r
        )

    assert revealed(array(test), array(train), found).tolist() == [is_revealed(*triple) for triple in test]


@settings(deadline=None)
@given(GRAPHS, st.integers(0, 3))
def test_a_proposed_split_reveals_nothing_and_shows_train_every_entity_and_relation(triples, seed):
    found = patterns(array(triples))
    parts = propose(array(triples), found, seed)
    assert sorted(tuple(triple) for part in parts for triple in part.tolist()) == sorted(triples)
    train, *held = parts
    for part in held:
        assert not revealed(part, train, found).any()
        assert set(part[:, [0, 2]].ravel()) <= set(train[:, [0, 2]].ravel())
        assert set(part[:, 1]) <= set(train[:, 1])
    assert not revealed(parts[2], parts[1], found).any()


@pytest.mark.parametrize("symmetric", [False, True])
def test_about_a_tenth_is_held_out_for_each_of_valid_and_test(symmetric):
    random = np.random.default_rng(0)
    pairs = np.unique(random.integers(0, 60, (600, 2)), axis=0)
    pairs = np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0) if symmetric else pairs
    triples = np.insert(pairs, 1, 0, axis=1)
    train, valid, test = propose(triples, patterns(triples))
    assert [round(len(part) / len(triples), 2) for part in (train, valid, test)] == [0.8, 0.1, 0.1]


def test_without_a_spare_fact_nothing_is_held_out():
    train, valid, test = propose(array([(0, 0, 1), (2, 0, 3), (4, 1, 5)]), [])
    assert (len(train), len(valid), len(test)) == (3, 0, 0)


def test_of_a_large_graph_no_more_is_held_out_than_is_worth_ranking(monkeypatch):
    monkeypatch.setattr(proposed_split, "MOST", 7)
    pairs = np.unique(np.random.default_rng(0).integers(0, 60, (600, 2)), axis=0)
    _, valid, test = propose(np.insert(pairs[pairs[:, 0] < pairs[:, 1]], 1, 0, axis=1), [])
    assert (len(valid), len(test)) == (7, 7)
