"""Every encoder that is a formula: independent of the batch, never zero, made again from its stored identity."""

from typing import Any

import numpy as np
import pytest

from mmkgc.components.encoders.base import Encoder
from mmkgc.components.encoders.formula import FormulaEncoder
from mmkgc.components.encoders.registry import create, encoders, recreate

EXAMPLES: dict[str, list[Any]] = {  # items of each modality
    "numeric": [[("area", 1.0)], [("area", 3.0), ("height", 2.0)], [("height", 7.0)]],
    "textual": ["Norway: a country", "Rome", "?"],
}


FORMULAS = sorted((found for found in encoders if issubclass(found, FormulaEncoder)), key=lambda found: found.__name__)


@pytest.fixture(params=FORMULAS, ids=lambda found: found.__name__)
def encoder(request: pytest.FixtureRequest) -> Encoder:
    """An encoder, fitted to the examples if it learns."""
    return create(request.param.Config.model_validate({})).fit(EXAMPLES[request.param.modality])


def test_vectors_do_not_depend_on_the_batch(encoder: Encoder) -> None:
    items = EXAMPLES[encoder.modality]
    together = encoder.encode(items)
    assert together.dtype == np.float32
    assert together.shape == (len(items), encoder.dimension)
    np.testing.assert_array_equal(together, np.concatenate([encoder.encode([item]) for item in items]))


def test_no_vector_is_zero(encoder: Encoder) -> None:
    norms = np.linalg.norm(encoder.encode(EXAMPLES[encoder.modality]), axis=1)
    assert (norms > 0).all()
    assert not encoder.normalised or np.allclose(norms, 1)


def test_a_server_makes_the_same_vectors_from_the_stored_identity(encoder: Encoder) -> None:
    items = EXAMPLES[encoder.modality]
    again = recreate(encoder.spec.model_dump(mode="json"))
    np.testing.assert_array_equal(again.encode(items), encoder.encode(items))
    assert not encoder.weights.random
