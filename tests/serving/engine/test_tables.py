"""Tables that the package step computes: equal answers, from pages that all workers share."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.package.config import PackageConfig
from mmkgc.components.package.package import write_extras
from mmkgc.serving.engine.engine import Engine
from mmkgc.serving.engine.tables import FILE, apart

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


def test_vectors_that_have_memory_in_common_are_written_each(tmp_path):
    """Fused vectors may be those of the only modality (fusion sum), or a part of them (GC-OTE)."""
    vectors = torch.arange(6.0).view(3, 2)
    tensors = {
        "vectors.structure": vectors,
        "views.joint": vectors,
        "views.part": vectors[1:],
        "views.turned": vectors.T,
    }
    save_file(apart(tensors), tmp_path / FILE)
    written = load_file(tmp_path / FILE)
    assert set(written) == set(tensors)
    assert all(torch.equal(written[name], tensor) for name, tensor in tensors.items())
    assert apart({"one": vectors})["one"] is vectors


def mapped_file(address: int) -> Path | None:
    """The file that the page at an address is mapped from."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, *rest = line.split(maxsplit=5)
        begin, end = (int(bound, 16) for bound in span.split("-"))
        if begin <= address < end:
            return Path(rest[-1]) if len(rest) == 5 else None
    return None
