"""Settings of the package step."""

from pydantic import BaseModel, ConfigDict, Field

from mmkgc.components.runtime.names import Name


class PackageConfig(BaseModel):
    """Settings of the model in TorchServe."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name = Field("mmkgc", description="TorchServe's name of the model, part of its URLs")
    batch_size: int = Field(32, ge=1, le=1024, description="requests that TorchServe hands to a worker at once")
    batch_delay_ms: int = Field(
        1, ge=1, le=1000, description="time TorchServe waits for a full batch: the minimum latency of a single query"
    )
    response_timeout_s: int = Field(60, ge=1, le=86_400, description="a worker that takes longer is restarted")
    thumbnail_pixels: int = Field(128, ge=0, le=512, description="longest side of the entities' thumbnails; 0: none")
    index_from: int = Field(
        200_000, ge=1, description="entities from which an index is used, if the interaction supports one"
    )
    index_recall: float = Field(
        0.99, gt=0, le=1, description="minimum share of the true top 10 that the index must find"
    )
    index_queries: int = Field(500, ge=2, le=1_000_000, description="train triples used to measure that share")
