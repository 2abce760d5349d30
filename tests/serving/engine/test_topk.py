import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mmkgc.serving.engine.topk import top_k, top_pairs

scores = arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 30)),
    elements=st.sampled_from([-np.inf, -2.0, -1.0, 0.0, 1.0, np.nan]),  # few values: many ties
)


@settings(deadline=None)  # the first call compiles
@given(scores=scores, k=st.integers(1, 40))
def test_equals_a_stable_sort(scores, k):
    found = top_k(scores, k)
    assert found.shape == (len(scores), min(k, scores.shape[1]))
    for row, ids in zip(scores, found, strict=True):
        finite = [column for column in range(len(row)) if np.isfinite(row[column])]
        expected = sorted(finite, key=lambda column: (-row[column], column))[:k]
        assert ids.tolist() == expected + [-1] * (len(ids) - len(expected))


@settings(deadline=None)
@given(scores=scores, k=st.integers(1, 40), seed=st.integers(0, 999))
def test_pairs_are_chosen_as_from_the_array_of_all_sums(scores, k, seed):
    random = np.random.default_rng(seed)
    rows, pairs = random.integers(len(scores), size=(5, 2)), random.integers(scores.shape[1], size=(20, 2))
    with np.errstate(invalid="ignore"):
        sums = scores[rows[:, 0]][:, pairs[:, 0]] + scores[rows[:, 1]][:, pairs[:, 1]]
    assert top_pairs(scores, rows, pairs, k).tolist() == top_k(sums, k).tolist()


def test_many_rows_and_columns():
    scores = np.random.default_rng(0).normal(size=(3, 1000)).astype(np.float32).round(1)
    assert top_k(scores, 20).tolist() == np.argsort(-scores, axis=1, kind="stable")[:, :20].tolist()


READ_ONLY = """
import tempfile, numpy
def refuse(*arguments, **options):
    raise OSError(30, "Read-only file system")
tempfile.TemporaryFile = refuse
from mmkgc.serving.engine.topk import top_k
from mmkgc.components.kge.kernels.loops import machine_code
assert machine_code.CONFIG.CACHE_DIR == ""
print(top_k(numpy.float32([[1, 3, 2]]), 2))
"""


@pytest.mark.slow
def test_it_works_where_no_folder_can_hold_machine_code():
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-c", READ_ONLY], capture_output=True, text=True)
    assert done.stdout == "[[1 2]]\n", done.stderr
