"""The ``train`` part of a recipe."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from mmkgc.components.dataset.modalities import MODALITIES, ModalityName
from mmkgc.components.kge.compatibility import caution, incompatibility
from mmkgc.components.kge.evaluation.calibration import Method
from mmkgc.components.kge.fusions import FUSIONS
from mmkgc.components.kge.losses import LOSSES
from mmkgc.components.kge.losses.base import NegativeLoss
from mmkgc.components.kge.model import ModelConfig
from mmkgc.components.kge.negatives import SAMPLERS
from mmkgc.components.kge.regularizers import REGULARIZERS
from mmkgc.components.runtime.names import Place, Seed
from mmkgc.components.train.compilation import Wanted
from mmkgc.components.train.precision import Precision

SHARDED = "sharded"
"""The entity encoder whose table is divided among processes."""
LEARNING_NOTHING = ("uniform", "bernoulli", "shared")
"""Samplers that read no vectors, which each process would have to ask the others for."""


class OptimizerConfig(BaseModel):
    """Optimizer and learning-rate schedule."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: Literal["adam", "adamw", "adagrad", "sgd", "row-adagrad", "lazy-adam"] = Field(
        "adam", description="row-adagrad, lazy-adam: a step costs the entities of the batch, not all; for large graphs"
    )
    lr: float = Field(1e-3, gt=0, description="learning rate")
    weight_decay: float = Field(0.0, ge=0)
    schedule: Literal["constant", "linear", "cosine", "step"] = Field(
        "constant", description="linear, cosine: from lr to 0 over all steps; step: a tenth of lr in their second half"
    )
    warmup: float = Field(0.0, ge=0, lt=1, description="share of all steps in which lr rises from 0")
    clip: float | None = Field(None, gt=0, description="largest norm of the gradient")


class TrainConfig(BaseModel):
    """What is trained, how, and when it ends."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    seed: Seed = Field(0, description="of weights, sampler, order of batches, dropout")
    start: Place | None = Field(
        None,
        description="warm start from the model of an earlier graph: models:/NAME@ALIAS, models:/NAME/VERSION, a bundle",
    )
    model: ModelConfig = ModelConfig()
    loss: Annotated[dict[str, Any], *LOSSES.annotate()] = Field(LOSSES.resolve("self-adversarial"), description="loss")
    negatives: Annotated[dict[str, Any], *SAMPLERS.annotate()] | None = Field(
        None, description="negative sampler; default: uniform, if the loss needs negatives"
    )
    regularizer: Annotated[dict[str, Any], *REGULARIZERS.annotate()] | None = None
    relation_prediction: float = Field(
        0.0, ge=0, description="weight of an auxiliary loss: which relation holds between head and tail"
    )
    subsampling: bool = Field(
        False, description="weigh a triple by 1/√(#(h, r) + #(r, t) + 6), as the RotatE code does"
    )
    known_false: float = Field(
        1.0, ge=0, description="weight of the loss of triples known to be false: negatives.tsv and rejected proposals"
    )
    drop_modality: dict[ModalityName, Annotated[float, Field(ge=0, le=1)]] = Field(
        {}, description="share of entities whose features of a modality are dropped, to study missing modalities"
    )
    optimizer: OptimizerConfig = OptimizerConfig()
    nodes: int = Field(1, gt=0, le=10_000, description="machines; several: the step submits a Kubeflow TrainJob")
    node_resources: dict[str, str] = Field(
        {}, description="of each of several machines: cpu, memory, gpu; default: the training runtime's"
    )
    batch_size: int = Field(1024, gt=0, le=2**24, description="positives per step, over all devices")
    epochs: int = Field(100, gt=0, le=1_000_000, description="at most")
    evaluate_every: int = Field(5, gt=0, le=1_000_000, description="epochs between measurements of the development MRR")
    dev_sample: int | None = Field(
        None, gt=0, description="development triples by which epochs are compared, drawn once; null: all"
    )
    patience: int | None = Field(5, gt=0, description="measurements without a better MRR before training stops")
    keep: Literal["best", "last"] = Field(
        "best", description="the epoch with the best development MRR, or the last one, as in the papers' code"
    )
    refit: bool | Annotated[int, Field(gt=0)] = Field(
        False,
        description="train again on train and development triples, for as many epochs as were best; a number: train "
        "on them at once, for so many epochs, which an earlier training has chosen",
    )
    checkpoint_seconds: float = Field(
        20.0, ge=0, description="time between checkpoints, from which a killed run continues"
    )
    calibration: Method | None = Field(
        "platt", description="map from scores to probabilities, fitted on answers to development queries; null: none"
    )
    ema: float | None = Field(None, gt=0, lt=1, description="decay of averaged weights, which are evaluated and kept")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    compile: Wanted = Field("auto", description="torch.compile of scores and losses; auto: on a GPU")
    precision: Precision = Field(
        "auto", description="auto: bfloat16 on a GPU that has it; bfloat16: float32 where the device has none"
    )

    @field_validator("negatives", mode="before")
    @classmethod
    def _uniform_where_needed(cls, given: Any, info: ValidationInfo) -> Any:
        """Use uniform negatives if no sampler is named and the loss needs one."""
        loss = info.data.get("loss")
        if given is not None or loss is None or not issubclass(LOSSES.lookup(loss["name"]), NegativeLoss):
            return given
        return "uniform"

    @model_validator(mode="after")
    def _can_work(self) -> "TrainConfig":
        given = self.model.modalities
        if reason := self.incompatibility(tuple(MODALITIES) if given is None else given):
            raise ValueError(reason)
        if self.start is not None and self.refit:
            raise ValueError(
                "refit trains from new initial values, so it does not go with start; leave out one of them"
            )
        return self

    def incompatibility(self, modalities: tuple[str, ...]) -> str | None:
        """Why this cannot be trained on a graph with features of ``modalities``; None if it can."""
        return self._not_divisible() or incompatibility(
            self.model, modalities, self.negatives, self.loss, self.relation_prediction > 0
        )

    def caution(self) -> str | None:
        """What can be trained so, but is probably not meant; None if nothing."""
        return caution(self.model, self.loss)

    def _not_divisible(self) -> str | None:
        """Why this cannot be trained with the encoder ``sharded``; None if it can, or uses another encoder."""
        if self.model.encoder["name"] != SHARDED:
            return None
        sampler, begin = self.negatives["name"] if self.negatives else None, f"with model.encoder: {SHARDED},"
        if not issubclass(LOSSES.lookup(self.loss["name"]), NegativeLoss):
            return f"{begin} a loss compares with negatives, and '{self.loss['name']}' does not"
        if sampler not in LEARNING_NOTHING:
            return f"{begin} the negatives are {', '.join(LEARNING_NOTHING)}, and not '{sampler}'"
        if self.optimizer.name != "row-adagrad":
            return f"{begin} the optimizer is row-adagrad, and not '{self.optimizer.name}'"
        if self.regularizer is not None and self.regularizer["name"] == "l3":
            return f"{begin} the regularizer l3 cannot read the whole table; take n3"
        late = {"optimizer.clip": self.optimizer.clip, "optimizer.weight_decay": self.optimizer.weight_decay}
        for key, value in (late | {"ema": self.ema}).items():
            if value:
                return f"{begin} rows change as gradients arrive, so train.{key} cannot work"
        return None

    @property
    def label(self) -> str:
        """Short name of a run: interaction, fusion and sampler, or the loss if there is no sampler."""
        parts = self.model.interaction, self.model.fusion, self.negatives or self.loss
        return ", ".join(part["name"] for part in parts)

    def uses(self, modality: str) -> bool:
        """Whether the model or the sampler uses features of the modality."""
        of_sampler = self.negatives is not None and SAMPLERS.lookup(self.negatives["name"]).reads_features
        if not (of_sampler or FUSIONS.lookup(self.model.fusion["name"]).reads_features):
            return False
        return self.model.modalities is None or modality in self.model.modalities

    def override(self, values: Mapping[str, Any]) -> "TrainConfig":
        """A copy with dotted keys changed, e.g. ``{"optimizer.lr": 0.01}``; raises ``ValidationError``."""
        changed = self.model_dump()
        for key, value in values.items():
            *parents, last = key.split(".")
            place = changed
            for parent in parents:
                if isinstance(place[parent], str):  # a part that another value names: regularizer, then its weight
                    place[parent] = {"name": place[parent]}
                place = place[parent]
            place[last] = value
        return TrainConfig.model_validate(changed)
