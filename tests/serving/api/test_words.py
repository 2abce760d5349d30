"""Errors of pydantic in the words of the API."""

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from mmkgc.serving.api.words import sentence


class Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")
    relation: str = ""
    k: int = 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"K": 1}, "K: there is no such field — did you mean 'k'?"),
        ({"<": 1}, "<: there is no such field"),
        ({"": 1}, "there is no such field"),
        ({"k": "many"}, "k: must be a whole number"),
        ([], "must be an object"),
    ],
)
def test_what_is_wrong_is_said_for_any_name_of_a_field(given: object, said: str) -> None:
    with pytest.raises(ValidationError) as found:
        Asked.model_validate(given)
    assert sentence(found.value.errors(), Asked.model_fields).startswith(said)


def test_the_kind_of_a_value_is_not_a_field() -> None:
    assert (
        sentence([{"type": "int_type", "loc": ("k", "<constrained>"), "msg": ""}], ["k"]) == "k: must be a whole number"
    )
