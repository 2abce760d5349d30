"""Base class of encoders whose vectors are a formula of the content instead of the output of a network."""

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn

from mmkgc.components.encoders.base import Encoder, EncoderConfig
from mmkgc.components.encoders.weights import Weights, formula


class FormulaConfig(EncoderConfig):
    """Configuration of a formula; a kind defines ``encoder`` and ``weights``, each a literal with a default.

    ``weights`` names the formula. Stored vectors are reused as long as the encoder's identity stays, so change the name
    (``counts`` → ``counts-2``) whenever the formula changes.
    """

    output: Literal["pooled"] = "pooled"
    precision: Literal["float32"] = "float32"


class FormulaEncoder(Encoder):
    """An encoder without a network; a kind overrides ``dimension`` and ``pooled``.

    No item may become a vector of zeros, which means that an entity lacks the modality.
    """

    config: FormulaConfig

    @property
    def constants(self) -> tuple[Any, ...]:
        """All numbers that the formula contains, as JSON; keys of the configuration are part of the identity anyway."""
        return ()

    @property
    def weights(self) -> Weights:
        """Name of the formula and digest of its constants; they are not random."""
        return formula(self.config.weights, *self.constants)

    @property
    def preprocessing(self) -> dict[str, Any]:
        """None."""
        return {}

    def prepare(self, items: Sequence[Any]) -> list[Any]:
        """The items unchanged."""
        return list(items)

    def build(self) -> nn.Module:
        """No network."""
        return nn.Identity()

    def tokens(self, batch: Sequence[Any]) -> list[Tensor]:
        """A formula has no sequences; the configuration does not allow them."""
        raise NotImplementedError
