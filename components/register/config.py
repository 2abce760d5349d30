"""The ``register`` part of a recipe: where a model is registered and the conditions of its promotion."""

from pydantic import BaseModel, ConfigDict, Field

from mmkgc.components.runtime.names import Alias, Name, Seed


class GateConfig(BaseModel):
    """Conditions on the gate queries under which a challenger replaces the champion."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_gain: float = Field(0.0, ge=0, description="Minimum gain in MRR over the champion (ε).")
    confidence: float = Field(
        0.95,
        gt=0.5,
        lt=1,
        description="Coverage of the paired-bootstrap interval of the gain; its low end must exceed 0.",
    )
    resamples: int = Field(2000, ge=100, le=1_000_000, description="Resamples of the gate triples.")
    max_slice_loss: float = Field(
        0.05, ge=0, description="Maximum loss of MRR in any relation or missing-modality slice (δ)."
    )
    min_slice_queries: int = Field(50, ge=1, description="Slices with fewer queries are ignored as too noisy.")
    max_latency_ms: float = Field(
        250.0, gt=0, description="Maximum median latency of one query (top 10 answers) on this machine."
    )
    max_size_mb: float = Field(4096.0, gt=0, description="Maximum size of the bundle, which a server keeps in memory.")
    max_uncovered: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Maximum share of gate queries with entities that the champion does not know.",
    )
    seed: Seed = Field(0, description="Seed of the resamples.")


class RegisterConfig(BaseModel):
    """Registration of a model and its promotion."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Name | None = Field(None, description="Name in the registry (default: the name of the MLflow experiment).")
    alias: Alias = Field("champion", description="Alias of the promoted version.")
    promote: bool = Field(True, description="Run the gate; otherwise the version is registered without an alias.")
    gate: GateConfig = GateConfig()
