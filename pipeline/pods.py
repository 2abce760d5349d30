"""The ``cluster`` part of a recipe: resources and settings of each step's pod. Local runs ignore it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, create_model, model_validator

Quantity = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]*(\.[0-9]+)?[KMGT]i?$")]

DEFAULTS: dict[str, dict[str, Any]] = {
    "ingest": {"hours": 2, "retries": 0},  # failures are due to invalid data, so retries are useless
    "extract": {"cpu": 2, "memory": "4Gi", "hours": 24},
    "search": {"cpu": 4, "memory": "8Gi", "hours": 72},
    "train": {"cpu": 4, "memory": "8Gi", "hours": 72},
    "evaluate": {"cpu": 2, "memory": "4Gi"},
    "register": {},
    "propose": {"cpu": 4, "memory": "8Gi", "hours": 24},
    "package": {"hours": 2},
}
"""Every step, with its default settings, which override the defaults of ``Pod``."""


class Toleration(BaseModel):
    """A Kubernetes toleration, which allows pods on nodes with a taint."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str | None = None
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class Pod(BaseModel):
    """Settings of one step's pod. ``memory`` is both request and limit: a pod that exceeds it is killed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cpu: float = Field(1, gt=0, description="cores, and as many threads (at least one)")
    memory: Quantity = Field("2Gi", description="of the pod, request and limit")
    gpu: int = Field(0, ge=0, description="accelerators")
    gpu_type: str = Field("nvidia.com/gpu", description="resource name of the accelerators")
    shm: Quantity = Field(
        "1Gi", description="size of /dev/shm, which counts as memory; processes hand tensors over there"
    )
    hours: float = Field(8, gt=0, description="after which the pod is ended")
    retries: int = Field(2, ge=0, description="further attempts after a failure, such as a lost node")
    node_selector: dict[str, str] = Field({}, description="labels that the node must have")
    tolerations: tuple[Toleration, ...] = ()
    env: dict[str, str] = Field({}, description="further variables; no secrets, they stand in the compiled file")


def _attribute(step: str) -> str:
    """Name of a step's settings in Python; ``register`` is a method of pydantic's models."""
    return "register_" if step == "register" else step


_pods: dict[str, Any] = {_attribute(step): (Pod, Field(alias=step)) for step in DEFAULTS}
_Steps: Any = create_model("_Steps", **_pods)


class ClusterConfig(_Steps):
    """The ``cluster:`` part of a recipe: settings of each step, of ``all`` steps, and of the whole run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    all: dict[str, Any] = Field({}, description="for every step; what a step says itself comes before it")
    workspace: Quantity | None = Field(
        "10Gi", description="volume of the run that keeps train's checkpoints for a retried pod; null: none"
    )
    hours: float | None = Field(None, gt=0, description="after which the whole run is ended")
    keep_hours: float | None = Field(None, gt=0, description="after which pods and logs of an ended run are deleted")
    pull_secrets: tuple[str, ...] = Field((), description="secrets of the image's registry")
    run_as_user: int | None = Field(None, ge=1, description="UID of the pods; null: the image's, which is not root")

    @model_validator(mode="before")
    @classmethod
    def _over_the_defaults(cls, given: Any) -> Any:
        """Override each step's defaults, key by key, with ``all`` and then with the step's own settings."""
        if not isinstance(given, dict) or not isinstance(given.get("all", {}), dict):
            return given
        if unfit := [key for key in given.get("all", {}) if key not in Pod.model_fields]:
            raise ValueError(f"all.{unfit[0]}: unknown key; a pod has {', '.join(Pod.model_fields)}")
        steps = {step: given.get(step, {}) for step in DEFAULTS}
        below = given.get("all", {})
        return given | {
            step: DEFAULTS[step] | below | own if isinstance(own, dict) else own for step, own in steps.items()
        }

    def of(self, step: str) -> Pod:
        """The pod of a step."""
        return getattr(self, _attribute(step))
