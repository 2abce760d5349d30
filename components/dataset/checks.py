"""Checks of a dataset. Invalid data raise UserError; other observations are reported as findings."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmkgc.components.dataset.findings import Findings
from mmkgc.components.dataset.key_index import KeyIndex
from mmkgc.components.dataset.lines import Lines
from mmkgc.components.dataset.raw import RawGraph, Split, blocks
from mmkgc.components.kge.vocabulary import LONGEST_KEY, RELATION
from mmkgc.components.runtime.errors import UserError, shown
from mmkgc.components.runtime.nouns import counted


def refuse_bad_keys(lines: Lines, keys: list[str]) -> None:
    """Raise UserError for a key that is empty, too long for queries, or a duplicate."""
    lines.refuse_if(np.array([not key.strip() for key in keys]), lambda row: "the key is empty", "give it a key")
    lines.refuse_if(
        np.array([len(key) > LONGEST_KEY for key in keys]),
        lambda row: f"the key '{shown(keys[row])}' has {len(keys[row])} characters, and queries take {LONGEST_KEY}",
        "give it a shorter key; names and descriptions may be longer",
    )
    first: dict[str, int] = {}
    repeated = np.array([first.setdefault(key, row) != row for row, key in enumerate(keys)])
    lines.refuse_if(
        repeated,
        lambda row: f"key '{shown(keys[row])}' is already on line {lines.first + first[keys[row]]}",
        "keep one of the two lines",
    )


def good_keys(keys: pa.ChunkedArray) -> bool:
    """Whether ``refuse_bad_keys`` has nothing to refuse; where it says no, that function is to decide."""
    for chunk in keys.chunks:
        blank = pc.any(pc.equal(pc.utf8_trim_whitespace(chunk), "")).as_py()
        if blank or (pc.max(pc.utf8_length(chunk)).as_py() or 0) > LONGEST_KEY:
            return False
    return KeyIndex(keys).distinct


def note_files(raw: RawGraph, findings: Findings) -> None:
    """Note a development split with an unusual file name, and files that are not read."""
    if raw.valid and raw.valid.lines.path.stem not in ("valid", "valid2id"):
        findings.notes.append(f"{raw.valid.lines.path.name} is read as the development split.")
    if raw.unread:
        findings.notes.append(f"Files that are not read: {', '.join(map(shown, raw.unread))}.")


def distinct(raw: RawGraph, split: Split, findings: Findings) -> np.ndarray:
    """The split's distinct triples in file order. Raises UserError if there are none."""
    if not len(split):
        raise UserError(split.lines.path, "this split is empty", _mend_empty(split, raw))
    if not raw.repeats(split.triples):  # usual, and the order of the rows need not be computed
        return split.triples
    rows = np.sort(np.unique(raw.codes(split.triples), return_index=True)[1])
    dropped = len(split) - len(rows)
    if dropped:
        findings.notes.append(
            f"{split.lines.path.name}: repeated rows that are dropped: {dropped:,} of {len(split):,}."
        )
    return split.triples[rows]


def _mend_empty(split: Split, raw: RawGraph) -> str:
    if split is raw.valid:
        return "fill it, or delete the file: a share of train then becomes the development split"
    return "write triples `head relation tail` into it"


def leakage(raw: RawGraph, allowed: bool, findings: Findings) -> int:
    """Number of test triples that are in train. Raises UserError if there are any, unless ``allowed``."""
    test = raw.codes(raw.test.triples)
    in_train = raw.in_train(test)
    if not allowed:
        raw.test.lines.refuse_if(
            in_train,
            lambda row: f"this test triple is also in train ({_train_line(raw, test[row])})",
            "remove it from one of them, or set ingest.allow_leakage=true to go on with a warning",
        )
    count = len(np.unique(test[in_train]))
    if count:
        of = len(np.unique(test))
        findings.warnings.insert(
            0,
            f"LEAKAGE: {count:,} of {counted(of, 'test triple')} in train, too; results on this split prove nothing.",
        )
    return count


def _train_line(raw: RawGraph, code: int) -> str:
    line = raw.train.lines.first + _row_of(raw.codes(raw.train.triples), code)
    return f"{raw.train.lines.path.name}, line {line}"


def false_triples(
    raw: RawGraph, falsehoods: Sequence[Split], truths: Sequence[Split], findings: Findings
) -> np.ndarray:
    """The distinct triples that are known to be false, int64 ``[F, 3]``, in the order of their files.

    Raises UserError, with both lines, for one that a file of true triples has too.
    """
    found = np.empty((0, 3), dtype=np.int64)
    for split in falsehoods:
        codes = raw.codes(split.triples)
        for truth in truths:
            true = raw.codes(truth.triples)
            split.lines.refuse_if(
                np.isin(codes, true),
                lambda row, truth=truth, true=true, codes=codes: (  # type: ignore[misc]
                    f"this triple is known to be false here and true in {truth.lines.at(_row_of(true, codes[row]))}"
                ),
                "remove it from one of them",
            )
        new = split.triples[np.sort(np.unique(codes, return_index=True)[1])]
        new = new[~np.isin(raw.codes(new), raw.codes(found))]
        dropped = len(split) - len(new)
        repeats = f"; {counted(dropped, 'repeated row is', 'repeated rows are')} dropped" if dropped else ""
        if len(split):  # `mmkgc propose export` writes the file also where nothing was rejected
            known = counted(len(new), "triple is", "triples are")
            findings.notes.append(f"{split.lines.path.name}: {known} known to be false{repeats}.")
        found = np.concatenate([found, new])
    return found


def confidence_of(raw: RawGraph, train: np.ndarray, findings: Findings) -> np.ndarray | None:
    """Confidence of the triples ``train[T, 3]``, float32 ``[T]``; 1 for those that are not in the file of train.

    None where all are certain. Raises UserError, with both lines, if rows of a triple state different ones.
    """
    stated = raw.train.confidence
    if stated is None:
        return None
    codes = raw.codes(raw.train.triples)
    distinct_codes, first, place = np.unique(codes, return_index=True, return_inverse=True)
    raw.train.lines.refuse_if(
        stated != stated[first][place],
        lambda row: (
            f"the confidence {stated[row]:g} of this triple differs from {stated[first][place[row]]:g} in "
            f"line {raw.train.lines.first + int(first[place[row]])}"
        ),
        "keep one of the two lines",
    )
    wanted = raw.codes(train)
    found = np.searchsorted(distinct_codes, wanted).clip(max=len(distinct_codes) - 1)
    confidence = np.where(distinct_codes[found] == wanted, stated[first][found], 1.0).astype(np.float32)
    unsure = confidence < 1
    if not unsure.any():
        return None
    findings.notes.append(
        f"{unsure.sum()} train triples count less in the loss: their confidence is {confidence[unsure].mean():.2f} on "
        "average."
    )
    return confidence


def _row_of(codes: np.ndarray, code: int) -> int:
    return int(np.flatnonzero(codes == code)[0])


def warn_of_unused(raw: RawGraph, findings: Findings) -> None:
    """Warn about relations without train triples, about which nothing can be learned."""
    used = np.zeros(len(raw.relations), bool)
    for triples in blocks(raw.train.triples):
        used[triples[:, RELATION]] = True
    unused = np.flatnonzero(~used).tolist()
    findings.warn_of("relations that are in no train triple", [f"'{raw.relations.keys[index]}'" for index in unused])
