"""Any text transformer of the Hugging Face hub: mean of the word vectors, or the CLS vector."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils.rnn import pad_sequence

from mmkgc.components.encoders.base import Encoder, EncoderConfig
from mmkgc.components.encoders.weights import Weights, checkpoint, load_network
from mmkgc.components.runtime import digests
from mmkgc.components.runtime.files import read_json

TOKENISER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


class HFTextConfig(EncoderConfig):
    """A text transformer by its hub name or local folder."""

    encoder: Literal["hftext"] = "hftext"
    max_tokens: int | None = Field(default=None, ge=3, description="longer texts are cut; null: the checkpoint's limit")
    pooling: Literal["mean", "cls"] = "mean"
    normalise: bool = Field(default=False, description="scale vectors to length 1")


class HFText(Encoder):
    """Last hidden state of a text transformer, pooled over the words of a text."""

    modality = "textual"
    Config: ClassVar[type[EncoderConfig]] = HFTextConfig
    config: HFTextConfig

    @cached_property
    def weights(self) -> Weights:
        """The checkpoint."""
        return checkpoint(self.config.weights, self.config.revision)

    @property
    def source(self) -> Any:
        """Folder with the architecture and the tokeniser."""
        return self.weights.location

    @property
    def preprocessing(self) -> dict[str, Any]:
        """Digests of the tokeniser's files, and the token limit."""
        files = {name: self.source / name for name in TOKENISER_FILES if (self.source / name).is_file()}
        return {name: digests.of_file(path) for name, path in files.items()} | {"max_tokens": self.max_tokens}

    @property
    def dimension(self) -> int:
        """Width of the hidden state."""
        return read_json(self.source / "config.json")["hidden_size"]

    @property
    def max_tokens(self) -> int:
        """Longest text in tokens, by default as long as the position table."""
        return self.config.max_tokens or read_json(self.source / "config.json").get("max_position_embeddings", 512)

    @property
    def pooling(self) -> str:
        """How word vectors become one: ``mean`` or ``cls``."""
        return self.config.pooling

    @property
    def normalised(self) -> bool:
        """Whether vectors have length 1."""
        return self.config.normalise

    @cached_property
    def tokeniser(self) -> Any:
        """The checkpoint's tokeniser."""
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.source, use_fast=True)

    def prepare(self, items: Sequence[str]) -> list[Any]:
        """Token encodings of texts (ids and truncated part)."""
        texts = [text.strip() for text in items]
        return self.tokeniser(texts, truncation=True, max_length=self.max_tokens).encodings

    def remark(self, prepared: Any) -> str:
        """A remark if a text was cut."""
        return f"cut to {self.max_tokens} tokens" if prepared.overflowing else ""

    def build(self) -> nn.Module:
        """The checkpoint's network."""
        return load_network(self.source)

    def pooled(self, batch: Sequence[Any]) -> Tensor:
        """Text vectors ``[B, d]``."""
        hidden, mask = self._hidden(batch)
        vectors = hidden[:, 0] if self.pooling == "cls" else _mean(hidden.float(), mask)
        return normalize(vectors, dim=1) if self.normalised else vectors

    def tokens(self, batch: Sequence[Any]) -> list[Tensor]:
        """Token vectors ``[n, d]`` of each text, including begin and end tokens."""
        hidden, mask = self._hidden(batch)
        return [vectors[present] for vectors, present in zip(hidden, mask.bool(), strict=True)]

    def _hidden(self, batch: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """Hidden state ``[B, L, d]`` and mask ``[B, L]``, padded to the longest text."""
        pad = self.tokeniser.pad_token_id or 0
        ids = pad_sequence([torch.tensor(text.ids) for text in batch], batch_first=True, padding_value=pad)
        mask = pad_sequence([torch.ones(len(text.ids), dtype=torch.long) for text in batch], batch_first=True)
        ids, mask = ids.to(self.device), mask.to(self.device)
        return self.network(input_ids=ids, attention_mask=mask).last_hidden_state, mask


def _mean(hidden: Tensor, mask: Tensor) -> Tensor:
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
