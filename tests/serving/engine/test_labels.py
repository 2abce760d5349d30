import unicodedata

import pytest

from mmkgc.components.kge.graph import Vocabulary
from mmkgc.serving.api.protocol import ErrorCode, QueryError
from mmkgc.serving.engine.labels import Labels


@pytest.fixture
def labels() -> Labels:
    keys = ("no", "paris_fr", "paris_us", "oslo", "NO2")
    return Labels(Vocabulary(keys, ("Norway", "Paris", "Paris", "Oslo", "Northern Ireland")), "entity")


@pytest.mark.parametrize(("label", "expected"), [("no", 0), ("NORWAY", 0), ("Oslo", 3), ("no2", 4), ("paris_us", 2)])
def test_resolves_keys_and_names_whatever_the_case(labels, label, expected):
    assert labels.resolve(label) == expected


def test_an_ambiguous_name_lists_the_keys(labels):
    with pytest.raises(QueryError, match="ambiguous") as caught:
        labels.resolve("paris")
    assert caught.value.code is ErrorCode.AMBIGUOUS_ENTITY
    assert [item["key"] for item in caught.value.nearest] == ["paris_fr", "paris_us"]


def test_an_unknown_name_comes_with_the_nearest(labels):
    with pytest.raises(QueryError, match="no entity 'Norwya'") as caught:
        labels.resolve("Norwya")
    assert caught.value.nearest[0] == {"key": "no", "name": "Norway"}


def test_search_ranks_beginnings_before_words_before_similar(labels):
    assert labels.search("nor", 5)[:2] == [0, 4]
    assert labels.search("ireland", 1) == [4]
    assert labels.search("oslu", 1) == [3]
    assert labels.search("", 2) == [0, 1]
    assert labels.search("paris", 1) == [1]


def test_accents_may_be_composed_or_not():
    names = ("Zo\u00eb", "A\u030asa")
    labels = Labels(Vocabulary(("zoe", "asa"), names), "entity")
    for form in ("NFC", "NFD"):
        for index, name in enumerate(names):
            assert labels.resolve(unicodedata.normalize(form, name)) == index
            assert labels.search(unicodedata.normalize(form, name), 1) == [index]
