"""The ``model:`` part of a recipe."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mmkgc.components.kge.entity_encoders import ENTITY_ENCODERS
from mmkgc.components.kge.entity_encoders.base import FeatureScale, Missing, MissingStructure
from mmkgc.components.kge.fusions import FUSIONS
from mmkgc.components.kge.interactions import INTERACTIONS

WIDEST = 65_536
"""Largest dimension; catches typing errors that would exhaust the memory."""

TABLE_SETTINGS = {
    "missing",
    "missing_structure",
    "structure_dropout",
    "modality_dropout",
    "feature_scale",
    "fine_tune",
}
"""Settings of the entity encoder (``EntityData``)."""


class ModelConfig(BaseModel):
    """Parts and dimension of the model."""

    model_config = ConfigDict(extra="forbid", validate_default=True)

    dimension: int = Field(
        200, gt=0, le=WIDEST, description="d; an interaction over complex numbers has 2d reals an entity"
    )
    interaction: Annotated[dict[str, Any], *INTERACTIONS.annotate()] = Field(
        INTERACTIONS.resolve("rotate"), description="score function"
    )
    fusion: Annotated[dict[str, Any], *FUSIONS.annotate()] = Field(
        FUSIONS.resolve("adamf"), description="how modality embeddings become a triple's score"
    )
    encoder: Annotated[dict[str, Any], *ENTITY_ENCODERS.annotate()] = Field(
        ENTITY_ENCODERS.resolve("table"), description="how an entity becomes one embedding per modality"
    )
    modalities: tuple[str, ...] | None = Field(None, description="features to use; default: all that there are")
    structure: bool = Field(True, description="learn a structural vector of each entity; false: features alone")
    reciprocal: bool = Field(False, description="a second relation vector for head queries; a triple: mean of both")
    missing: Missing = Field("learned", description="replacement for a modality that an entity lacks")
    structure_dropout: float = Field(0.0, ge=0, lt=1, description="share of entities trained without own structure")
    missing_structure: MissingStructure = Field(
        "learned", description="replacement for dropped structure: one vector; predicted: by the entity's features"
    )
    modality_dropout: float = Field(
        0.0, ge=0, lt=1, description="share of entities trained without their features, drawn for each modality"
    )
    feature_scale: FeatureScale = Field(
        "unit", description="mean norm 1 for each modality's features; raw: as they come"
    )
    fine_tune: bool = Field(False, description="train the raw features too")

    @model_validator(mode="after")
    def _dropout_trains_the_prediction(self) -> Self:
        if self.missing_structure == "predicted" and not self.structure_dropout:
            raise ValueError("missing_structure: predicted is learned from structure_dropout; set that above 0")
        return self
