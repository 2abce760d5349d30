"""Transformers over the tokens of an entity or of a query."""

from typing import Annotated

from pydantic import Field
from torch import nn

Heads = Annotated[int | None, Field(gt=0, description="attention heads; default: ≤ 4, a divisor of the width")]
Layers = Annotated[int, Field(gt=0, description="layers of the transformer")]
Dropout = Annotated[float, Field(ge=0, lt=1, description="share of coordinates dropped")]


def transformer(width: int, heads: int | None, layers: int, dropout: float) -> nn.Module:
    """A transformer of ``layers`` layers over tokens ``[B, L, width]``, with feed-forward layers twice as wide.

    Raises ``ValueError`` if ``width`` is not divisible by ``heads``.
    """
    heads = heads or max(n for n in (1, 2, 3, 4) if width % n == 0)
    if width % heads:
        raise ValueError(f"'vista' splits vectors of {width} numbers among {heads} heads; take a divisor")
    layer = nn.TransformerEncoderLayer(width, heads, 2 * width, dropout, batch_first=True)
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
