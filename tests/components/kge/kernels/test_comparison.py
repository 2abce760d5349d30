"""Compiled comparisons against PyTorch's own operations in float64."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmkgc.components.kge.interactions.geometry import L1, L2, Dot, Geometry, Modulus
from mmkgc.components.kge.kernels import comparison
from mmkgc.components.kge.kernels.loops.chunks import CHUNK

GEOMETRIES = [Dot(), L1(), L2(), Modulus()]
every_geometry = pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda geometry: geometry.kernel)


def scores_and_gradients(scores: Tensor, weight: Tensor, *inputs: Tensor) -> list[Tensor]:
    return [scores, *torch.autograd.grad((scores * weight).sum(), inputs)]


def assert_alike(actual: list[Tensor], expected: list[Tensor]) -> None:
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours.double(), theirs, atol=1e-4, rtol=1e-4)


@every_geometry
@settings(max_examples=25, deadline=None)
@given(
    queries=st.integers(0, 40),
    rows=st.integers(1, 140),
    count=st.integers(0, 9),
    half=st.integers(1, 37) | st.integers(CHUNK - 1, 3 * CHUNK + 1),
    seed=st.integers(0, 1000),
)
def test_scores_and_gradients_are_those_of_pytorch(
    geometry: Geometry, queries: int, rows: int, count: int, half: int, seed: int
) -> None:
    """Odd sizes, no queries, no candidates, repeated candidates, sizes that are no multiple of a SIMD register.

    Few queries go row by row, many with a row in each SIMD lane; gradients of narrow vectors pair by pair, of wide ones
    chunk by chunk.
    """
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(queries, 2 * half, generator=generator, requires_grad=True)
    table = torch.randn(rows, 2 * half, generator=generator, requires_grad=True)
    index = torch.randint(rows, (queries, count), generator=generator)
    q, t = (tensor.detach().double().requires_grad_() for tensor in (query, table))

    weight = torch.randn(queries, count, generator=generator)
    ours = scores_and_gradients(comparison.candidates(geometry.kernel, query, table, index), weight, query, table)
    assert_alike(ours, scores_and_gradients(geometry.pairs(q.unsqueeze(1), t[index]), weight, q, t))

    weight = torch.randn(queries, rows, generator=generator)
    ours = scores_and_gradients(comparison.everyone(geometry.kernel, query, table), weight, query, table)
    assert_alike(ours, scores_and_gradients(geometry.pairs(q.unsqueeze(1), t), weight, q, t))


@every_geometry
@pytest.mark.parametrize("queries", [3, 30])
def test_equal_points_get_equal_bits(geometry: Geometry, queries: int, two_threads: None) -> None:
    """Or a tie would be broken by where in the table an entity stands."""
    query, table = torch.randn(queries, 50), torch.randn(1, 50).expand(157, 50)
    scores = comparison.everyone(geometry.kernel, query, table)
    assert torch.equal(scores, scores[:, :1].expand_as(scores))
    index = torch.randint(157, (queries, 20))
    scores = comparison.candidates(geometry.kernel, query, table, index)
    assert torch.equal(scores, scores[:, :1].expand_as(scores))


@every_geometry
@pytest.mark.parametrize("width", [8, 2 * CHUNK + 8])
def test_the_gradient_of_equal_points_is_finite(geometry: Geometry, width: int) -> None:
    query = torch.ones(3, width, requires_grad=True)
    table = torch.ones(5, width, requires_grad=True)
    index = torch.arange(12).view(3, 4) % 5
    everyone = comparison.everyone(geometry.kernel, query, table)
    candidates = comparison.candidates(geometry.kernel, query, table, index)
    for scores in (everyone, candidates):
        for gradient in torch.autograd.grad(scores.sum(), (query, table)):
            assert gradient.isfinite().all()
            if geometry.kernel != "dot":
                assert not gradient.any()


@every_geometry
@pytest.mark.parametrize("queries", [1, 20])
def test_no_score_of_nan_or_infinity_is_finite(geometry: Geometry, queries: int) -> None:
    """Ranking refuses what is not finite; a plausible number would pass."""
    table = torch.ones(3, 64)
    assert comparison.everyone(geometry.kernel, torch.full((queries, 64), torch.nan), table).isnan().all()
    assert not comparison.everyone(geometry.kernel, torch.full((queries, 64), torch.inf), table).isfinite().any()


def test_a_wrong_index_is_refused() -> None:
    for wrong in (-1, 4):
        with pytest.raises(IndexError, match="out of the table's range"):
            comparison.candidates("l1", torch.zeros(1, 2), torch.zeros(4, 2), torch.tensor([[wrong]]))


def test_only_large_float32_work_on_the_cpu_goes_to_the_kernels() -> None:
    query, table = torch.zeros(8, 64), torch.zeros(4096, 64)
    assert comparison.usable(query, table, len(query) * len(table))
    assert not comparison.usable(query, table, 8)
    assert not comparison.usable(query.double(), table.double(), len(query) * len(table))
    assert not comparison.usable(query.to("meta"), table.to("meta"), len(query) * len(table))


@every_geometry
def test_a_geometry_takes_strided_vectors_and_either_way_agrees(geometry: Geometry) -> None:
    query, table = torch.randn(64, 40).T[:, ::2], torch.randn(9000, 64)[:, ::2]
    assert comparison.usable(query, table, len(query) * len(table))
    expected = geometry.pairs(query.double().unsqueeze(1), table.double())
    torch.testing.assert_close(geometry.everyone(query, table).double(), expected, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(geometry.grid(query, table).double(), expected, atol=1e-4, rtol=1e-5)


@every_geometry
@pytest.mark.parametrize(("queries", "candidates"), [(1, 1), (1, 4), (4, 1), (4, 4)])
def test_aligned_vectors_are_compared_as_pairs_are(geometry: Geometry, queries: int, candidates: int) -> None:
    shapes = (600, queries, 256), (600, candidates, 256)
    query, candidate = (torch.randn(shape, requires_grad=True) for shape in shapes)
    q, c = (tensor.detach().double().requires_grad_() for tensor in (query, candidate))
    assert comparison.usable(query.flatten(0, 1), candidate.flatten(0, 1), 600)
    weight = torch.randn(600, max(queries, candidates))
    ours = scores_and_gradients(geometry.aligned(query, candidate), weight, query, candidate)
    assert_alike(ours, scores_and_gradients(geometry.pairs(q, c), weight, q, c))


def test_several_threads_may_score_at_once() -> None:
    query, table = torch.randn(16, 64), torch.randn(3000, 64)
    expected = comparison.everyone("modulus", query, table)
    with ThreadPoolExecutor(4) as encoded:
        for scores in encoded.map(lambda _: comparison.everyone("modulus", query, table), range(16)):
            assert torch.equal(scores, expected)


def test_every_number_of_threads_gives_the_same(two_threads: None) -> None:
    query = torch.randn(16, 64, requires_grad=True)
    table = torch.randn(301, 64, requires_grad=True)
    index, weight = torch.randint(301, (16, 20)), torch.randn(16, 20)
    two = scores_and_gradients(comparison.candidates("modulus", query, table, index), weight, query, table)
    torch.set_num_threads(1)
    one = scores_and_gradients(comparison.candidates("modulus", query, table, index), weight, query, table)
    assert torch.equal(two[0], one[0])
    assert torch.equal(two[2], one[2])
    torch.testing.assert_close(two[1], one[1])


def _everyone(seed: int) -> float:
    torch.set_num_threads(2)
    generator = torch.Generator().manual_seed(seed)
    return comparison.everyone("l1", *(torch.randn(9, 8, generator=generator) for _ in range(2))).sum().item()


@pytest.mark.filterwarnings("ignore:.*fork.*")
def test_a_forked_process_may_score(two_threads: None) -> None:
    expected = _everyone(0)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(_everyone, [0]).get(timeout=60) == expected
