"""Interface of regularizers."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from mmkgc.components.kge.model import Model


class Regularizer(ABC):
    """A penalty on the vectors of the model."""

    @abstractmethod
    def penalty(self, model: "Model", factors: list[Tensor]) -> Tensor:
        """Scalar; ``factors``: moduli ``[B, e]`` of the head, relation and tail vectors of the batch's triples."""
