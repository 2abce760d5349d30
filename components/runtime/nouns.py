"""Numbers with their nouns in sentences."""


def counted(number: int, one: str, many: str = "") -> str:
    """``1 accepted triple``, ``2,000 accepted triples``; ``many`` is given where more than the last word changes.

    ``counted(1, "answer is", "answers are")``. A last word in a consonant and -y becomes -ies.
    """
    return f"{number:,} {one if number == 1 else many or plural(one)}"


def plural(one: str) -> str:
    """The plural of a regular noun."""
    return f"{one[:-1]}ies" if one.endswith("y") and one[-2:-1] not in "aeiou" else f"{one}s"
