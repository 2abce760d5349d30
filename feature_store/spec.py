"""The identity of feature vectors: modality, encoder and stored number type."""

from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from mmkgc.components.runtime import digests


@dataclass(frozen=True)
class FeatureSpec:
    """Identity of a family of vectors; equal specs and equal content give equal vectors.

    ``encoder`` is the encoder's identity as JSON: at least ``encoder`` (its name), ``weights``, ``sha256`` of the
    weights, ``dimension`` and ``output`` (``pooled`` or ``tokens``). ``dtype`` is ``float32`` or ``float16``.
    """

    modality: str
    encoder: dict[str, Any]
    dtype: str = "float32"

    @property
    def key(self) -> str:
        """Short digest of the spec."""
        return digests.of_json(self.to_json())[:16]

    @property
    def folder(self) -> str:
        """Folder of the vectors of this spec, relative to the store's root."""
        return f"features/modality={self.modality}/encoder={self.encoder['encoder']}/spec={self.key}"

    @property
    def dimension(self) -> int:
        """Width d of a vector."""
        return self.encoder["dimension"]

    @property
    def tokens(self) -> bool:
        """Whether an entity has a sequence of vectors instead of one."""
        return self.encoder.get("output") == "tokens"

    @property
    def schema(self) -> pa.Schema:
        """Columns of a part, with the spec as metadata."""
        number = pa.float16() if self.dtype == "float16" else pa.float32()
        vector = pa.list_(pa.field("element", number, nullable=False), self.dimension)
        return pa.schema(
            [
                ("key", pa.string()),
                ("content", pa.string()),
                ("vector", pa.list_(vector) if self.tokens else vector),
                ("images", pa.int32()),
                ("status", pa.string()),
                ("error", pa.string()),
            ],
            metadata={name: str(value) for name, value in ({"modality": self.modality} | self.encoder).items()},
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)
