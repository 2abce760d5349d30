"""Lists of consecutive items that are alike."""

from collections.abc import Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")


def group_consecutive(items: Iterable[Item], alike: Callable[[Item, Item], bool]) -> list[list[Item]]:
    """Items in lists of such as follow each other and are ``alike``.

    ``itertools.groupby`` with a function cannot be traced by torch.compile, which fails on a loop over it.
    """
    found: list[list[Item]] = []
    for item in items:
        if found and alike(found[-1][-1], item):
            found[-1].append(item)
        else:
            found.append([item])
    return found
