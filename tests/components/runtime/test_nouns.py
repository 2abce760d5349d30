import pytest

from mmkgc.components.runtime.nouns import counted


@pytest.mark.parametrize(
    ("number", "words", "said"),
    [
        (1, ("accepted triple",), "1 accepted triple"),
        (0, ("accepted triple",), "0 accepted triples"),
        (2, ("entity",), "2 entities"),
        (2, ("day",), "2 days"),
        (1_883, ("query",), "1,883 queries"),
        (1, ("answer is", "answers are"), "1 answer is"),
        (3, ("answer is", "answers are"), "3 answers are"),
    ],
)
def test_a_number_has_its_noun_in_the_right_form(number, words, said):
    assert counted(number, *words) == said
