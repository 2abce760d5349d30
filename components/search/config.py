"""The ``search`` part of a recipe: which hyper-parameters are tuned, over which values, by how many trials."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from mmkgc.components.runtime.names import Name, Seed
from mmkgc.components.runtime.quoting import masked


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

    low: float = Field(allow_inf_nan=False)
    high: float = Field(allow_inf_nan=False)
    integer: bool = Field(False, description="Whole numbers only.")
    log: bool = Field(False, description="Uniform in the logarithm: for learning rates and penalties.")
    step: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Distance of neighbouring values; not together with `log`."
    )

    @model_validator(mode="after")
    def _bounds(self) -> "Number":
        if self.low >= self.high:
            raise ValueError(f"`low` ({self.low:g}) must be below `high` ({self.high:g})")
        if self.log and (self.low <= 0 or self.step):
            raise ValueError("a logarithmic range needs `low` above 0 and no `step`")
        if self.integer and not all(value.is_integer() for value in (self.low, self.high, self.step or 1.0)):
            raise ValueError("a range of whole numbers needs whole `low`, `high` and `step`")
        return self


def _kind(value: Any) -> str:
    """Kind of a range: ``choice`` if it has ``values``, else ``number``; errors then mention one kind only."""
    listed = "values" in value if isinstance(value, dict) else isinstance(value, Choice)
    return "choice" if listed else "number"


RANGE_KEYS = set(Choice.model_fields) | set(Number.model_fields)


def _dotted(space: Any) -> Any:
    """Flatten nested keys such as `model: {dimension: {values: […]}}` to dotted keys.

    `--set search.space.model.dimension=…` and some recipes write nested keys.
    """
    if not isinstance(space, dict):
        return space
    flat: dict[Any, Any] = {}
    for key, value in space.items():
        nested = isinstance(value, dict) and value and not set(value) & RANGE_KEYS
        flat |= {f"{key}.{inner}": found for inner, found in _dotted(value).items()} if nested else {key: value}
    return flat


Range = Annotated[Annotated[Choice, Tag("choice")] | Annotated[Number, Tag("number")], Discriminator(_kind)]


class SearchConfig(BaseModel):
    """An Optuna study over keys of the recipe's `train` part; no search if `trials` is 0."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trials: int = Field(
        0, ge=0, le=1_000_000, description="Trials of the study, including those of earlier, interrupted runs."
    )
    workers: int = Field(1, ge=1, le=1024, description="Processes that work on the study at the same time.")
    space: Annotated[dict[str, Range], BeforeValidator(_dotted)] = Field(
        default_factory=dict, description="Keys of `train`, dotted, and the values to try: `loss.margin: {…}`."
    )
    storage: str | None = Field(
        None,
        description="Database URL of the study, e.g. `postgresql+psycopg://…`; each worker is then a separate task "
        "(on a cluster, a pod). Do not write the password here: set PGPASSWORD. Default: a journal file in "
        "the scratch folder; the workers are processes of one task.",
    )
    study: Name | None = Field(
        None, description="Name of the study (default: a digest of graph, features, recipe and space)."
    )
    prune: bool = Field(True, description="Stop trials early if their development MRR is low (Hyperband).")
    seed: Seed = Field(0, description="Seed of the sampler; with several workers, the order depends on timing.")

    @property
    def is_spread(self) -> bool:
        """Whether the workers are tasks of the pipeline that share the study's database."""
        return self.storage is not None and self.workers > 1

    @field_validator("storage")
    @classmethod
    def _no_password(cls, url: str | None) -> str | None:
        """Reject a URL with a password: recipes are copied to MLflow parameters, task arguments and logs."""
        if url is not None and "://" not in url:
            raise ValueError("no URL of a database: give e.g. postgresql+psycopg://user@host/database")
        if url is not None and masked(url) != url:
            raise ValueError("a recipe is no secret: leave the password out, and set PGPASSWORD (or ~/.pgpass)")
        return url

    @model_validator(mode="after")
    def _something_to_search(self) -> "SearchConfig":
        if self.trials and not self.space:
            raise ValueError("`trials` without a `space` to search; name at least one key of `train`")
        return self
