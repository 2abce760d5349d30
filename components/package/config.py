"""Settings of the package step."""

from pydantic import BaseModel, ConfigDict, Field

from mmkgc.components.runtime.names import Name


class PackageConfig(BaseModel):
    """How TorchServe is to run the model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name = Field("mmkgc", description="TorchServe's name of the model, part of its URLs")
    batch_size: int = Field(32, ge=1, le=1024, description="requests that TorchServe hands to a worker at once")
    batch_delay_ms: int = Field(
        1, ge=1, le=1000, description="how long TorchServe waits for a full batch: the floor of a lone query's latency"
    )
    response_timeout_s: int = Field(
        60, ge=1, le=86_400, description="after this a worker counts as hung and is started anew"
    )
    thumbnail_pixels: int = Field(128, ge=0, le=512, description="longest side of the entities' thumbnails; 0: none")
    index_from: int = Field(
        200_000, ge=1, description="entities from which an index finds candidates, if the interaction allows one"
    )
    index_recall: float = Field(0.99, gt=0, le=1, description="share of the true top 10 that the index must find")
    index_queries: int = Field(500, ge=2, le=1_000_000, description="train triples on which that share is measured")
