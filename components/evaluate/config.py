"""The ``evaluate`` part of a recipe."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from mmkgc.components.runtime.names import Seed


class EvaluateConfig(BaseModel):
    """Settings of the evaluation on the test split."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    protocol: Literal["realistic", "openke"] = Field(
        "realistic",
        description="Rank of ties: `realistic` (mean of best and worst) or `openke` (best, as in the papers' code, "
        "which also uses the last epoch: `train.keep: last`; results are labelled accordingly).",
    )
    hits: tuple[Annotated[int, Field(ge=1)], ...] = Field((1, 3, 10), min_length=1, description="The k of Hits@k.")
    batch_size: int = Field(256, ge=1, le=2**20, description="Queries ranked per batch.")
    bootstrap: int = Field(1000, ge=100, le=1_000_000, description="Resamples of the test triples for the intervals.")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Coverage of the intervals.")
    completions: int = Field(5, ge=0, le=10_000, description="Number of test queries whose best answers are shown.")
    answers: int = Field(5, ge=1, le=10_000, description="Answers shown per query.")
    missing: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
        (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
        description="Shares of entities whose image and text are hidden, for the missing-modality curve.",
    )
    seed: Seed = Field(0, description="Seed of the resamples and of the negatives of triple classification.")
