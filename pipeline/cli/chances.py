"""Probabilities in words: as a frequency, which is what they are fitted to be."""

from mmkgc.components.runtime.nouns import counted


def frequency(probability: float) -> str:
    """``about 4 in 10``; one in 20 or 100 where tenths are too coarse."""
    if probability < 0.005:
        return "fewer than 1 in 100"
    if probability < 0.05:
        return f"about {round(100 * probability)} in 100"
    if probability < 0.125:
        return f"about 1 in {round(1 / probability)}"
    if probability > 0.95:
        return "more than 19 in 20"
    return f"about {min(9, round(10 * probability))} in 10"


def abstained(at_least: float, best: float | None, count: int) -> str:
    """What is said where ``count`` answers are less probable than ``at_least``; ``best``: the most probable of them."""
    answers = counted(count, "answer is", "answers are")
    top = f"; of answers like the best of them, {frequency(best)} are right" if best is not None else ""
    return f"{answers} less probable than {at_least:.0%} and left out{top}"
