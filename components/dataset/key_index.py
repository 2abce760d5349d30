"""Ids of keys by a sorted array of hashes: 12 bytes a key, a tenth of what Arrow's own hash table takes.

The hash of the bytes b₀ … bₙ is Σ bᵢ Pⁱ modulo 2⁶⁴, of all strings of an array at once, as differences of one running
sum over their common buffer. Strings are compared after the search, so the answers are exact.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

P = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2⁶⁴
INVERSE = pow(P, -1, 1 << 64)
PIECE = 1 << 14  # strings hashed at once


class KeyIndex:
    """Position of each of ``keys``, a string array of Arrow without nulls."""

    def __init__(self, keys: pa.Array | pa.ChunkedArray) -> None:
        self._keys = keys.combine_chunks() if isinstance(keys, pa.ChunkedArray) else keys
        found = _hashes(self._keys)
        self._order = np.argsort(found, kind="stable").astype(np.int32)
        self._hashes = found[self._order]

    @property
    def distinct(self) -> bool:
        """Whether no two hashes are equal, and so no two keys. (Different keys of one hash: once in 10⁷ graphs.)"""
        return bool((self._hashes[1:] != self._hashes[:-1]).all())

    def of(self, wanted: pa.Array) -> np.ndarray:
        """Position of each of ``wanted`` among the keys, int32; −1 for a string that is no key."""
        if not self.distinct or not len(self._keys):
            return pc.fill_null(pc.index_in(wanted, self._keys), -1).to_numpy()
        places = np.searchsorted(self._hashes, _hashes(wanted))
        found = self._order[np.minimum(places, len(self._order) - 1)]
        same = pc.equal(self._keys.take(pa.array(found)), wanted).to_numpy(zero_copy_only=False)
        return found if same.all() else np.where(same, found, np.int32(-1))


def _hashes(strings: pa.Array) -> np.ndarray:
    """The hash of each string, uint64."""
    pieces = [_hash_piece(strings[start : start + PIECE]) for start in range(0, len(strings), PIECE)]
    return np.concatenate(pieces) if pieces else np.empty(0, np.uint64)


def _hash_piece(strings: pa.Array) -> np.ndarray:
    wide = pa.types.is_large_string(strings.type)
    _, offsets, data = strings.buffers()
    bounds = np.frombuffer(offsets, np.int64 if wide else np.int32)[strings.offset :][: len(strings) + 1].astype(int)
    bounds, text = bounds - bounds[0], np.frombuffer(data or b"", np.uint8)[bounds[0] : bounds[-1]]
    sums = np.zeros(len(text) + 1, np.uint64)
    np.cumsum((text + np.uint64(1)) * _powers(P, len(text)), out=sums[1:])  # + 1: zero bytes count
    starts, ends = bounds[:-1], bounds[1:]
    return (sums[ends] - sums[starts]) * _powers(INVERSE, len(text) + 1)[starts]


def _powers(base: int, count: int) -> np.ndarray:
    """1, base, base², … modulo 2⁶⁴, uint64 ``[count]``."""
    powers = np.full(count, base, np.uint64)
    powers[:1] = 1
    return np.cumprod(powers, out=powers)
