"""Estimates the cost of a query before it is run, relative to a plain query, which costs 1.

The constants were measured by `python tests/benchmarks/costs.py` with 15,000 entities and 400,000 train triples on one
core. A plain query takes 0.65 ms, an explained prediction 0.1 to 0.2 ms (of a single query 0.7 ms), 1,000 predictions
instead of ten 3 ms, a text 9 ms plus 72 ms per 1,000 characters until it is truncated, a picture 300 ms (VGG-16) plus
14 ms per megapixel.
"""

import json
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any, NamedTuple

from mmkgc.serving.api.protocol import MAX_BATCH, MAX_K

MAX_COST = 16_000  # per request: about ten seconds of one core
EXPLAINED = 1  # per explained prediction
LISTED = 100  # predictions or candidates per unit of cost
TEXT, CHARACTERS, LONGEST = 15, 9, 1_000  # cost of a text, characters per unit of cost, characters read
PICTURE, MEGAPIXEL, LARGEST = 500, 20, 25  # cost of a picture, cost per megapixel, limit in megapixels
LOOKUP = 10  # a search, a list of relations or of proposals
MARKS = (b"[", b"{", b",", b":")
MAX_VALUES = 250_000  # of a request: 0.1 s of parsing, which blocks the gateway's event loop
HEADER = 1 << 16  # base64 characters that usually contain a picture's size
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
EXPLANATION = (
    f"a query costs 1, each explained prediction {EXPLAINED} more, a text up to {TEXT + LONGEST // CHARACTERS}, "
    f"a picture {PICTURE} and {MEGAPIXEL} per megapixel"
)


class Priced(NamedTuple):
    """A query as ASCII JSON, and its cost."""

    content: bytes
    cost: int


def priced(query: Any) -> Priced:
    """A query with its cost. A malformed query, which is refused later, costs as much as a valid one."""
    return Priced(json.dumps(query).encode(), cost(query))  # ASCII: a text may contain a lone surrogate


def cost(query: Any) -> int:
    """Cost of a query in its JSON form."""
    if not isinstance(query, Mapping):
        return 1
    k = query.get("k", 10)
    k = min(k, MAX_K) if isinstance(k, int) and k > 0 else MAX_K  # other types may be coerced to any number
    if all(query.get(part) is not None for part in ("head", "relation", "tail")):
        k = 1
    explained = EXPLAINED * k if query.get("explain", False) is not False else 0
    return 1 + (k + _length(query.get("candidates"))) // LISTED + explained + _unseen(query)


def values(content: bytes) -> int:
    """How many JSON values ``content`` has at most."""
    return sum(content.count(mark) for mark in MARKS)


def batches(queries: Sequence[Any], limit: int = MAX_COST) -> Iterator[list[Any]]:
    """Split the queries into batches that cost at most ``limit``, or contain a single query."""
    batch: list[Any] = []
    spent = 0
    for query in queries:
        price = cost(query)
        if batch and (spent + price > limit or len(batch) == MAX_BATCH):
            yield batch
            batch, spent = [], 0
        batch.append(query)
        spent += price
    if batch:
        yield batch


def _unseen(query: Mapping[str, Any]) -> int:
    total = 0
    for part in ("head", "tail"):
        entity = query.get(part)
        if isinstance(entity, Mapping):
            if isinstance(text := entity.get("text"), str):
                total += TEXT + min(len(text), LONGEST) // CHARACTERS
            if isinstance(image := entity.get("image"), str):
                total += PICTURE + MEGAPIXEL * _megapixels(image)
    return total


def _megapixels(image: str) -> int:
    """Megapixels of a base64 picture, from its header; the maximum if the header cannot be read."""
    from PIL import Image

    for part in (image[:HEADER], image):
        try:
            with Image.open(BytesIO(b64decode(part)), formats=FORMATS) as opened:
                return min(opened.width * opened.height // 1_000_000, LARGEST)
        except Exception:  # damaged bytes make Pillow raise exceptions of any type
            continue
    return LARGEST


def _length(value: Any) -> int:
    return len(value) if isinstance(value, Sequence) else 0
