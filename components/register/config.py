"""The ``register`` part of a recipe: where a model is registered and what it must show to be promoted."""

from pydantic import BaseModel, ConfigDict, Field

from mmkgc.components.runtime.names import Alias, Name, Seed


class GateConfig(BaseModel):
    """What a challenger must show on the gate queries before it takes the champion's place."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_gain: float = Field(0.0, ge=0, description="Least gain in MRR over the champion (ε).")
    confidence: float = Field(
        0.95,
        gt=0.5,
        lt=1,
        description="Coverage of the paired-bootstrap interval of the gain; its low end must exceed 0.",
    )
    resamples: int = Field(2000, ge=100, le=1_000_000, description="Resamples of the gate triples.")
    max_slice_loss: float = Field(
        0.05, ge=0, description="Largest loss of MRR in any relation or missing-modality slice (δ)."
    )
    min_slice_queries: int = Field(50, ge=1, description="Slices with fewer queries are too noisy to veto.")
    max_latency_ms: float = Field(
        250.0, gt=0, description="Budget of one query on this machine: median, top 10 answers."
    )
    max_size_mb: float = Field(4096.0, gt=0, description="Budget of the bundle's size, which a server holds in memory.")
    max_uncovered: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of gate queries that may be left out because the champion does not know their entities.",
    )
    seed: Seed = Field(0, description="Seeds the resamples.")


class RegisterConfig(BaseModel):
    """Where a model is registered, and its promotion."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Name | None = Field(None, description="Name in the registry (default: the name of the MLflow experiment).")
    alias: Alias = Field("champion", description="Alias of the promoted version.")
    promote: bool = Field(True, description="Ask the gate; otherwise the version is registered without an alias.")
    gate: GateConfig = GateConfig()
