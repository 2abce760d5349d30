"""What a query costs the model, known before any work: a plain one costs 1.

The figures are those of `python tests/benchmarks/costs.py` with 15,000 entities and 400,000 train triples, on which a
plain query takes 0.65 ms of one core: an explained prediction takes 2 to 3 ms, 1,000 predictions instead of ten 3 ms, a
text 9 ms and 72 ms more per 1,000 characters until it is cut, a picture 300 ms (VGG-16) and 14 ms per megapixel.
"""

import json
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any, NamedTuple

from mmkgc.serving.api.protocol import MAX_BATCH, MAX_K

MAX_COST = 16_000  # of a request: about ten seconds of one core
EXPLAINED = 4  # a prediction
LISTED = 100  # so many predictions or candidates cost 1
TEXT, CHARACTERS, LONGEST = 15, 9, 1_000  # a text, so many of its characters cost 1, and what is read of it
PICTURE, MEGAPIXEL, LARGEST = 500, 20, 25  # a picture, each of its megapixels, and their limit
LOOKUP = 10  # a search, a list of relations or of proposals
HEADER = 1 << 16  # characters of base64 in which a picture's size is found, as a rule
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
EXPLANATION = (
    f"a query costs 1, each explained prediction {EXPLAINED} more, a text up to {TEXT + LONGEST // CHARACTERS}, "
    f"a picture {PICTURE} and {MEGAPIXEL} per megapixel"
)


class Priced(NamedTuple):
    """A query as JSON, in ASCII, and its cost."""

    content: bytes
    cost: int


def priced(query: Any) -> Priced:
    """A query with its price; one that is malformed, which is refused later, costs what it would if it were not."""
    return Priced(json.dumps(query).encode(), cost(query))  # ASCII: a text may hold half a surrogate pair


def cost(query: Any) -> int:
    """Cost of a query in its JSON form."""
    if not isinstance(query, Mapping):
        return 1
    k = query.get("k", 10)
    k = min(k, MAX_K) if isinstance(k, int) and k > 0 else MAX_K  # other types may be read as any number
    if all(query.get(part) is not None for part in ("head", "relation", "tail")):
        k = 1
    explained = EXPLAINED * k if query.get("explain", False) is not False else 0
    return 1 + (k + _length(query.get("candidates"))) // LISTED + explained + _unseen(query)


def batches(queries: Sequence[Any], limit: int = MAX_COST) -> Iterator[list[Any]]:
    """The queries in requests that each cost at most ``limit``, or hold a single query."""
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
    """Size of a picture in base64, by its header alone; the largest where that cannot be read."""
    from PIL import Image

    for part in (image[:HEADER], image):
        try:
            with Image.open(BytesIO(b64decode(part)), formats=FORMATS) as opened:
                return min(opened.width * opened.height // 1_000_000, LARGEST)
        except Exception:  # Pillow raises whatever the damaged bytes lead to
            continue
    return LARGEST


def _length(value: Any) -> int:
    return len(value) if isinstance(value, Sequence) else 0
