"""The extraction part of a recipe."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from mmkgc.components.encoders.base import EncoderConfig
from mmkgc.components.encoders.registry import TextualConfig, VisualConfig
from mmkgc.components.encoders.sbert import SBERTConfig
from mmkgc.components.encoders.vgg16 import VGG16Config
from mmkgc.components.runtime.errors import UserError


class ImportedConfig(BaseModel):
    """Vectors made elsewhere instead of an encoder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: Literal["imported"] = "imported"
    source: str = Field(description="array file in the order of the entities, or a manifest of `mmkgc features import`")
    array: str | None = Field(default=None, description="name of the array in a file with several")
    made_by: str = Field(default="unknown", description="encoder that made the vectors, for the record")


VisualSource = Annotated[VisualConfig | ImportedConfig, Field(discriminator="encoder")]
TextualSource = Annotated[TextualConfig | ImportedConfig, Field(discriminator="encoder")]


class ExtractConfig(BaseModel):
    """Which encoder makes the vectors of which modality, and how the work is done."""

    model_config = ConfigDict(extra="forbid")

    visual: VisualSource | None = Field(default=VGG16Config(), description="encoder of images; null: none")
    textual: TextualSource | None = Field(default=SBERTConfig(), description="encoder of texts; null: none")
    dtype: Literal["float32", "float16"] = Field(default="float32", description="number type of stored vectors")
    batch_size: int = Field(
        default=16, ge=1, le=65_536, description="images or texts that go through the network at once"
    )
    workers: int | None = Field(
        default=None, ge=0, le=1024, description="processes that decode images; null: the spare cores"
    )

    def encoder(self, modality: str) -> EncoderConfig | ImportedConfig:
        """The encoder of a modality. Raises UserError where the recipe has none."""
        config = getattr(self, modality, None)
        if config is None:
            raise UserError(f"extract.{modality}", "the recipe names no encoder", "name one, such as vgg16 or sbert")
        return config
