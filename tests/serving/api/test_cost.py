"""What a query costs is known before any work, whatever form it has."""

from base64 import b64encode
from io import BytesIO

import pytest
from PIL import Image

from mmkgc.serving.api import cost as costs
from mmkgc.serving.api.cost import MAX_COST, batches, cost, priced
from mmkgc.serving.api.protocol import MAX_BATCH, MAX_K

PLAIN = {"head": "e1", "relation": "r1"}


def picture(width: int, height: int, kind: str = "PNG") -> str:
    file = BytesIO()
    Image.new("L", (width, height)).save(file, kind)
    return b64encode(file.getvalue()).decode()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (PLAIN, 1),
        (PLAIN | {"k": 1000}, 11),
        (PLAIN | {"explain": True}, 11),
        (PLAIN | {"explain": True, "k": 1000}, 1011),
        (PLAIN | {"explain": "yes", "k": "1000"}, 1011),  # which pydantic reads as above
        (PLAIN | {"explain": 1, "k": 1000.0}, 1011),
        (PLAIN | {"explain": False}, 1),
        (PLAIN | {"tail": "e2", "k": 1000, "explain": True}, 2),
        (PLAIN | {"candidates": ["e1"] * 1000}, 11),
        ({"head": {"text": "x" * 100}, "relation": "r1"}, 27),
        ({"head": {"text": "x" * 10_000}, "relation": "r1"}, 127),
        ({"relation": "r1", "tail": {"image": picture(10, 10)}}, 501),
        ({"head": {"image": picture(5000, 5000)}, "relation": "r1"}, 1001),
        ({"head": {"image": picture(3000, 2000, "JPEG")}, "relation": "r1"}, 621),
        ({"head": {"image": "AAAA"}, "relation": "r1"}, 1001),
        ({"head": {"image": "no base64"}, "relation": "r1"}, 1001),
        ("nonsense", 1),
        (None, 1),
        ({"head": ["e1"], "k": -3, "candidates": 7}, 1 + MAX_K // costs.LISTED),
    ],
)
def test_the_cost_of_a_query(query, expected):
    assert cost(query) == expected


def test_a_picture_whose_size_stands_behind_long_metadata_is_measured_too():
    file = BytesIO()
    Image.new("L", (1000, 3000)).save(file, "JPEG", comment=b"x" * 60_000, icc_profile=b"y" * 60_000)
    assert cost({"head": {"image": b64encode(file.getvalue()).decode()}}) == 561


def test_a_price_comes_with_json_in_ascii():
    assert priced({"head": "\ud800é"}).content == b'{"head": "\\ud800\\u00e9"}'


def test_requests_of_a_client_are_split_by_cost_and_number():
    queries = [PLAIN | {"explain": True}] * 1000 + [PLAIN] * 3000
    found = list(batches(queries))
    assert [query for batch in found for query in batch] == queries
    assert all(sum(map(cost, batch)) <= MAX_COST and len(batch) <= MAX_BATCH for batch in found)
    assert len(found) == 4
    assert (
        list(batches([PLAIN | {"explain": True, "k": 1000}] * 2, limit=10))
        == [[PLAIN | {"explain": True, "k": 1000}]] * 2
    )
    assert list(batches([])) == []
