"""Tables that the package step computes: equal answers, from pages that all workers share."""

from pathlib import Path

import pytest

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.package.config import PackageConfig
from mmkgc.components.package.package import write_extras
from mmkgc.serving.engine.engine import Engine
from mmkgc.serving.engine.tables import FILE

QUERIES = [
    {"head": "e1", "relation": "r1", "k": 20, "explain": True},
    {"relation": "r2", "tail": "e5", "exclude_known": False},
    {"head": "e1", "tail": "e2"},
    {"head": "e1", "relation": "r3", "tail": "e4"},
]


@pytest.mark.parametrize("fusion", ["adamf", "tbkgc", "link-aware", "structure"])
def test_answers_are_the_same_from_the_file(fusion, make_bundle, tmp_path):
    folder = tmp_path / "bundle"
    make_bundle(fusion=fusion).save(folder)
    expected = Engine.load(folder).answer(QUERIES)
    write_extras(folder, Bundle.load(folder), PackageConfig())
    engine = Engine.load(folder)
    assert engine.answer(QUERIES) == expected
    pool = engine.scorer.model.everyone()
    assert {mapped_file(view.data_ptr()) for view in pool.views.values()} == {folder / FILE}


def mapped_file(address: int) -> Path | None:
    """The file that the page at an address is mapped from."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, *rest = line.split(maxsplit=5)
        begin, end = (int(bound, 16) for bound in span.split("-"))
        if begin <= address < end:
            return Path(rest[-1]) if len(rest) == 5 else None
    return None
