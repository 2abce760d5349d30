"""The ``propose`` part of a recipe: which missing triples are searched, and how many are kept."""

from pydantic import BaseModel, ConfigDict, Field


class ProposeConfig(BaseModel):
    """Which queries are scored, and how many proposals each relation keeps."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = Field(
        False, description="Whether a run proposes missing triples after it has registered the model."
    )
    share: float = Field(
        0.1, gt=0, allow_inf_nan=False, description="Proposals kept per relation, as a share of its train triples."
    )
    least: int = Field(10, ge=1, description="Minimum number of proposals per relation, if there are that many.")
    most: int = Field(1000, ge=1, description="Maximum number of proposals per relation.")
    relations: tuple[str, ...] | None = Field(None, description="Keys of the relations to complete; default: all.")
    peers: float = Field(
        0.05, ge=0, le=1, description="A relation is queried for an entity if this share of its peers has it."
    )
    functional: float = Field(
        0.95,
        gt=0,
        le=1,
        description="A relation counts as functional if this share of its entities has exactly one answer; an entity "
        "that has its answer is not queried again.",
    )
    missing: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="Share of its facts that the graph is thought to lack, which its data cannot tell; decisions of "
        "reviewers correct the probabilities that follow from it.",
    )
    at_least: float = Field(0.0, ge=0, lt=1, description="Least probability of a proposal that is kept.")
    batch_size: int = Field(256, ge=1, le=2**20, description="Queries scored per batch.")
    support: int = Field(3, ge=1, le=1000, description="Similar train triples stored with each proposal.")

    def budget(self, triples: int) -> int:
        """Number of proposals kept for a relation with ``triples`` train triples."""
        return min(self.most, max(self.least, round(self.share * triples)))
