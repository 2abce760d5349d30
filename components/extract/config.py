"""The extraction part of a recipe."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model, model_validator

from mmkgc.components.dataset.modalities import MODALITIES
from mmkgc.components.dataset.modalities.base import Modality
from mmkgc.components.encoders.base import EncoderConfig
from mmkgc.components.encoders.formula import FormulaConfig
from mmkgc.components.encoders.registry import chosen, configs, encoders
from mmkgc.components.encoders.weights import RANDOM
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.names import Place


class ImportedConfig(BaseModel):
    """Imported vectors instead of an encoder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: Literal["imported"] = "imported"
    source: Place = Field(
        description="array file in the order of the entities, or a manifest of `mmkgc features import`"
    )
    array: str | None = Field(default=None, description="name of the array in a file with several")
    made_by: str = Field(default="unknown", description="encoder that made the vectors, for the record")


def _field(modality: Modality) -> tuple[Any, Any]:
    """The recipe's key of a modality: its type and default."""
    options: Any = configs(modality.name)
    source: Any = Annotated[options | ImportedConfig, Field(discriminator="encoder")]
    default = encoders.lookup(modality.encoder).Config.model_validate({}) if modality.default else None
    choice: Any = Annotated[source | None, BeforeValidator(chosen)]
    return choice, Field(default=default, description=f"encoder of {modality.noun}s; null: none")


_fields: Any = {name: _field(modality) for name, modality in MODALITIES.items()}
_Encoders: Any = create_model("_Encoders", **_fields)


class ExtractConfig(_Encoders):
    """Encoder of each modality, one key per modality, and execution settings."""

    model_config = ConfigDict(extra="forbid")

    dtype: Literal["float32", "float16"] = Field(default="float32", description="number type of stored vectors")
    batch_size: int = Field(default=16, ge=1, le=65_536, description="items that go through the network at once")
    workers: int | None = Field(
        default=None, ge=0, le=1024, description="processes that decode files; null: the spare cores"
    )
    engine: Literal["local", "ray"] = Field(
        default="local", description="ray: actors of a Ray cluster ($RAY_ADDRESS) hold the encoder; same vectors"
    )
    actors: int = Field(default=2, ge=1, le=10_000, description="of Ray, each with an encoder and one processor")
    shards: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="tasks that share the work of a network, on a cluster as many pods; a local run has one",
    )

    @model_validator(mode="after")
    def _one_way_to_divide(self) -> "ExtractConfig":
        if self.shards > 1 and self.engine == "ray":
            raise ValueError("`shards` and `engine: ray` both divide the work among machines: choose one")
        return self

    def encoder(self, modality: str) -> EncoderConfig | ImportedConfig:
        """The encoder of a modality. Raises UserError where the recipe has none."""
        config = getattr(self, modality, None)
        if config is None:
            usual = f"name one, such as {MODALITIES[modality].encoder}"
            raise UserError(f"extract.{modality}", "the recipe names no encoder", usual)
        return config

    def modalities(self) -> list[str]:
        """The modalities that have an encoder."""
        return [modality for modality in MODALITIES if getattr(self, modality) is not None]

    def random(self) -> list[str]:
        """One sentence for each modality whose encoder has random weights."""
        return [_untrained(m, getattr(self, m)) for m in self.modalities() if _weights(getattr(self, m)) == RANDOM]

    def only(self, modality: str) -> "ExtractConfig":
        """The settings of one modality, so that other encoders do not change its cache key."""
        return self.model_copy(update={other: None for other in MODALITIES if other != modality})

    def undivided(self) -> "ExtractConfig":
        """The same in one task."""
        return self.model_copy(update={"shards": 1})

    def is_divided(self, modality: str) -> bool:
        """Whether several tasks encode a modality: not where vectors are imported or follow from a formula."""
        encoder = self.encoder(modality)
        return self.shards > 1 and not isinstance(encoder, ImportedConfig | FormulaConfig)


def _weights(config: EncoderConfig | ImportedConfig) -> str | None:
    return getattr(config, "weights", None)


def _untrained(modality: str, config: EncoderConfig) -> str:
    released = encoders.lookup(config.encoder).released
    fix = f"mmkgc weights add {config.encoder} FILE, with the file {released}" if released else "leave `weights` out"
    content = f"{MODALITIES[modality].noun}s"
    return f"{config.encoder} has random weights, so its features say little about the {content} ({fix})"


def step_name(modality: str) -> str:
    """Name of the step in the DAG, on the terminal, in the log and in MLflow."""
    return f"extract {modality}"


def shard_name(modality: str) -> str:
    """Name of each of the tasks before the step, where several share its work."""
    return f"{step_name(modality)} shard"
