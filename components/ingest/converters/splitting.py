"""The splits of a draft: the given ones without repetitions, or proposed ones."""

import numpy as np

from mmkgc.components.dataset.patterns import Pattern, patterns
from mmkgc.components.dataset.proposed_split import propose
from mmkgc.components.ingest.converters.draft import Draft
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.nouns import counted

SPLITS = ("train", "valid", "test")


def split(draft: Draft) -> tuple[dict[str, np.ndarray], list[Pattern]]:
    """Triples int64 ``[T, 3]`` by split, and the patterns of all relations; notes of the draft say what was done.

    Given splits stay, but for repeated triples, and for train triples that are in test. Without a test split, all
    triples are split anew. Raises UserError if no triple can be held out.
    """
    given = {name: _distinct(draft, name) for name in draft.parts}
    everything = np.unique(np.concatenate(list(given.values())), axis=0)
    found = patterns(everything)
    if len(given.get("test", ())) and len(given.get("train", ())):
        given["train"] = _without_test(draft, given["train"], given["test"])
        return {name: given[name] for name in SPLITS if name in given}, found
    together = np.concatenate(list(given.values()))
    together = together[np.sort(np.unique(together, axis=0, return_index=True)[1])]
    parts = dict(zip(SPLITS, propose(together, found), strict=True))
    if not len(parts["test"]) or not len(parts["valid"]):
        what = (
            f"none of {counted(len(together), 'fact')} can be held out: each is the only one of an entity or relation"
        )
        raise UserError(draft.source, what, "add facts: an entity needs two, to have one left for training")
    linked = "; facts that an inverse or symmetric relation repeats stay together" if found else ""
    draft.findings.notes.append(
        f"The split is proposed: {len(parts['valid'])} and {len(parts['test'])} of {len(together)} triples are held "
        f"out at random, and every entity of them is in train{linked}."
    )
    return parts, found


def _distinct(draft: Draft, name: str) -> np.ndarray:
    triples = draft.triples(name)
    rows = np.sort(np.unique(triples, axis=0, return_index=True)[1])
    if dropped := len(triples) - len(rows):
        draft.findings.notes.append(f"Repeated rows of {name} that are left out: {dropped:,} of {len(triples):,}.")
    return triples[rows]


def _without_test(draft: Draft, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    both = np.unique(np.concatenate([train, test]), axis=0, return_inverse=True)[1]
    in_test = np.isin(both[: len(train)], both[len(train) :])
    if in_test.any():
        found = counted(int(in_test.sum()), "train triple is", "train triples are")
        draft.findings.warnings.append(f"{found} also in test: left out of train.")
    return train[~in_test]
