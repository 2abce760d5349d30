"""The ``propose`` part of a recipe: which missing triples are looked for, and how many are kept."""

from pydantic import BaseModel, ConfigDict, Field


class ProposeConfig(BaseModel):
    """What is asked of the whole graph, and the budget of each relation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = Field(
        False, description="Whether a run proposes missing triples after it has registered the model."
    )
    share: float = Field(
        0.1, gt=0, allow_inf_nan=False, description="Proposals kept of a relation, as a share of its train triples …"
    )
    least: int = Field(10, ge=1, description="… but at least so many (where there are as many)")
    most: int = Field(1000, ge=1, description="… and at most so many.")
    relations: tuple[str, ...] | None = Field(None, description="Keys of the relations to complete; default: all.")
    peers: float = Field(
        0.05, ge=0, le=1, description="A relation is worth asking of an entity if this share of its peers has it."
    )
    functional: float = Field(
        0.95,
        gt=0,
        le=1,
        description="A relation counts as functional if this share of its entities has one answer alone; who has it, "
        "is asked for no other.",
    )
    batch_size: int = Field(256, ge=1, le=2**20, description="Questions scored at a time.")
    support: int = Field(3, ge=1, le=1000, description="Similar train triples kept with each proposal.")

    def budget(self, triples: int) -> int:
        """How many proposals of a relation with that many train triples are kept."""
        return min(self.most, max(self.least, round(self.share * triples)))
