"""Grouping of consecutive items."""

from collections.abc import Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")


def group_consecutive(items: Iterable[Item], alike: Callable[[Item, Item], bool]) -> list[list[Item]]:
    """Group consecutive items that are ``alike`` into lists.

    torch.compile cannot trace ``itertools.groupby`` with a key function and fails on a loop over it.
    """
    found: list[list[Item]] = []
    for item in items:
        if found and alike(found[-1][-1], item):
            found[-1].append(item)
        else:
            found.append([item])
    return found
