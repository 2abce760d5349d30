import pytest

from mmkgc.components.runtime.errors import UserError, did_you_mean, printable, shown


def test_a_user_error_says_where_what_and_how_to_mend():
    assert (
        str(UserError("train.tsv, line 3", "two columns", "write three"))
        == "train.tsv, line 3: two columns — write three"
    )


def test_the_nearest_name_is_suggested():
    assert did_you_mean("epocs", ["epochs", "seed"]) == "did you mean 'epochs'?"
    assert did_you_mean("RotatE", ["rotate", "transe"]) == "did you mean 'rotate'?"


def test_far_names_are_listed():
    assert did_you_mean("zzz", ["b", "a"]) == "choose one of: a, b"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("a\nb\rc\0", r"a\nb\rc\x00"),
        ("\x9b2J", r"\x9b2J"),
        ("line\u2028separator", r"line\u2028separator"),
        ("abc\u202edcba", r"abc\u202edcba"),
        ("\ud800", r"\ud800"),
        ("a\ttab", r"a\ttab"),
        ("Å, 知识, 🏳️‍🌈 stay", "Å, 知识, 🏳️‍🌈 stay"),
    ],
)
def test_nothing_that_a_terminal_obeys_is_printed(text, expected):
    assert printable(text) == printable(printable(text)) == expected
    assert expected in str(UserError(text, text, text))


def test_long_values_lose_their_middle():
    assert shown("x" * 120) == "x" * 120
    assert shown("a" * 500 + "b" * 500) == "a" * 60 + " … " + "b" * 60
    message = str(UserError("where", f"'{'x' * 1_000_000}' is no key", "mend"))
    assert len(message) < 1100
    assert message.startswith("where: 'xxx")
    assert message.endswith("xxx' is no key — mend")
