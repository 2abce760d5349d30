"""Settings of the ingest step."""

from pydantic import BaseModel, ConfigDict, Field

from mmkgc.components.dataset.raw import Columns
from mmkgc.components.runtime.names import Place, Seed


class IngestConfig(BaseModel):
    """The ``ingest:`` part of a recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dev_share: float = Field(
        0.1, gt=0, le=0.5, description="Share of train that becomes the development split if valid cannot be used."
    )
    seed: Seed = Field(0, description="Seed of that split.")
    allow_leakage: bool = Field(
        False, description="Continue, with a warning and a tag in MLflow, if test triples are also in train."
    )
    allow_outside_files: bool = Field(
        False,
        description="Read images and other files whose path leads out of the dataset folder: absolute, by `..` or a "
        "link.",
    )
    columns: Columns | None = Field(
        None, description="Column order of OpenKE files, overriding dataset.yaml: htr (head tail relation) or hrt."
    )
    increments: tuple[Place, ...] = Field(
        (),
        description="Folders (or stored URIs) of accepted triples that are added to train, as `mmkgc propose export` "
        "writes them.",
    )
