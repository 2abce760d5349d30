"""L3."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from torch import Tensor

from mmkgc.components.kge.regularizers.base import Regularizer

if TYPE_CHECKING:
    from mmkgc.components.kge.model import Model


class L3(Regularizer):
    """λ (‖E‖₃³ + ‖R‖₃³) over the whole structural and relation tables, whatever the batch (the RotatE code base)."""

    def __init__(self, *, weight: Annotated[float, Field(ge=0, description="λ")] = 1e-5) -> None:
        self.weight = weight

    def penalty(self, model: "Model", factors: list[Tensor]) -> Tensor:
        structure = model.entities.structural_table()
        tables = [*([] if structure is None else [structure]), *model.relations.values()]
        return self.weight * sum(table.abs().pow(3).sum() for table in tables)
