"""The ``search`` part of a recipe: which hyper-parameters are tuned, over which values, by how many trials."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator


class _Range(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    when: dict[str, Any] = Field(
        default_factory=dict,
        description="Only searched when these keys have these values, e.g. `{negatives.name: mans-a}`.",
    )


class Choice(_Range):
    """One of several values."""

    values: tuple[str | int | float | bool | None, ...] = Field(min_length=1)


class Number(_Range):
    """A real or whole number between two bounds, uniform or log-uniform."""

    low: float
    high: float
    integer: bool = Field(False, description="Whole numbers only.")
    log: bool = Field(False, description="Uniform in the logarithm: for learning rates and penalties.")
    step: float | None = Field(None, gt=0, description="Distance of neighbouring values; not together with `log`.")

    @model_validator(mode="after")
    def _bounds(self) -> "Number":
        if self.low >= self.high:
            raise ValueError(f"`low` ({self.low:g}) must be below `high` ({self.high:g})")
        if self.log and (self.low <= 0 or self.step):
            raise ValueError("a logarithmic range needs `low` above 0 and no `step`")
        return self


def _kind(value: Any) -> str:
    """A range with ``values`` is a choice, any other a number: errors then speak of one kind only."""
    listed = "values" in value if isinstance(value, dict) else isinstance(value, Choice)
    return "choice" if listed else "number"


Range = Annotated[Annotated[Choice, Tag("choice")] | Annotated[Number, Tag("number")], Discriminator(_kind)]


class SearchConfig(BaseModel):
    """An Optuna study over keys of the recipe's `train` part; 0 trials: no search."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trials: int = Field(0, ge=0, description="Trials of the study, those of earlier, interrupted runs among them.")
    workers: int = Field(1, ge=1, description="Processes that work on the study at the same time.")
    space: dict[str, Range] = Field(
        default_factory=dict, description="Keys of `train`, dotted, and the values to try: `loss.margin: {…}`."
    )
    storage: str | None = Field(
        None,
        description="Database URL of the study, e.g. `postgresql+psycopg://…`: each worker is then a task of its own "
        "(on a cluster, a pod). A recipe is no secret: leave the password to PGPASSWORD. Default: a journal file in "
        "the scratch folder, and workers that are processes of one task.",
    )
    study: str | None = Field(
        None, description="Name of the study (default: a digest of graph, features, recipe and space)."
    )
    prune: bool = Field(True, description="Stop trials early whose development MRR falls behind (Hyperband).")
    seed: int = Field(
        0, description="Seeds the sampler; workers at the same time still make the order depend on timing."
    )

    @property
    def is_spread(self) -> bool:
        """Whether the workers are tasks of the pipeline, which meet in the study's database."""
        return self.storage is not None and self.workers > 1

    @model_validator(mode="after")
    def _something_to_search(self) -> "SearchConfig":
        if self.trials and not self.space:
            raise ValueError("`trials` without a `space` to search; name at least one key of `train`")
        return self
