"""The systems of the papers: what the ``about:`` part of their recipes says, for ``mmkgc list systems``."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from mmkgc.components.runtime.errors import UserError
from mmkgc.pipeline import composition

NEEDS = {
    "none": "triples alone",
    "used": "triples; images, texts and numbers where there are any",
    "needed": "triples, and features of a modality",
}


class About(BaseModel):
    """The paper of a system, and what the system needs.

    ``features``: whether it uses no features of entities, uses those that there are, or cannot work without.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    paper: str
    venue: str = ""
    year: int
    features: Literal["none", "used", "needed"]
    also: str = ""

    @property
    def needs(self) -> str:
        """What the system needs, in words."""
        return "; ".join(filter(None, [NEEDS[self.features], self.also]))

    @property
    def reference(self) -> str:
        """Authors, title, venue and year."""
        return f"{self.paper}, {self.venue} {self.year}" if self.venue else f"{self.paper}, {self.year}"


def about(system: str) -> About:
    """What the recipe of ``system`` says; raises UserError if it says nothing, or something else."""
    path = composition.SYSTEMS / f"{system}.yaml"
    try:
        return About.model_validate(composition.from_file(path).about)
    except ValidationError as failure:
        error = failure.errors()[0]
        where = ".".join(["about", *map(str, error["loc"])])
        raise UserError(f"{path}, {where}", error["msg"].lower(), "see the systems beside it") from failure


def recipes_of(system: str) -> list[str]:
    """Names of the recipes that run a system: one for each dataset of the papers."""
    return [f"{dataset}-{system}" for dataset in composition.stems(composition.DATASETS)]
