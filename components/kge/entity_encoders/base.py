"""Interface of entity encoders, which map ids to one embedding per modality, with masks for missing modalities.

B entities of a batch, N entities, R relations, T train triples, e width of an embedding, d_m width of the raw features
of modality m.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from mmkgc.components.kge.features import Features, TokenFeatures
from mmkgc.components.kge.graph import no_triples
from mmkgc.components.kge.interactions.base import Interaction
from mmkgc.components.kge.kernels.rows import take

STRUCTURE = "structure"
Missing = Literal["learned", "zeros", "random"]
MissingStructure = Literal["learned", "predicted"]
FeatureScale = Literal["unit", "raw"]


@dataclass(frozen=True)
class ModalityEmbeddings:
    """Embeddings of entities, one per modality.

    ``vectors[m]`` ``[..., e]``; ``present[m]`` bool ``[...]``, whether the embedding counts; ``ids`` ``[...]``, the
    ids of the entities, or None if they are new, generated or combined from several.
    """

    vectors: dict[str, Tensor]
    present: dict[str, Tensor]
    ids: Tensor | None = None

    def __getitem__(self, modality: str) -> Tensor:
        return self.vectors[modality]

    def __iter__(self) -> Iterator[str]:
        return iter(self.vectors)

    @property
    def shape(self) -> torch.Size:
        """Leading dimensions ``[...]`` of the embeddings."""
        return next(iter(self.present.values())).shape

    def counted(self, modality: str) -> Tensor:
        """The embeddings ``[..., e]`` of a modality, zero where they do not count."""
        vectors, present = self.vectors[modality], self.present[modality]
        if present.all():  # saves copying all vectors and their gradients
            return vectors
        return vectors * present.unsqueeze(-1)

    def rows(self, index: Tensor) -> "ModalityEmbeddings":
        """The entities at ``index`` (any shape)."""
        chosen = self.pick(dict.fromkeys(self.vectors, index))
        return chosen if self.ids is None else replace(chosen, ids=self.ids[index])

    def pick(self, index: Mapping[str, Tensor]) -> "ModalityEmbeddings":
        """Entities combined from several: modality m is that of the entity at ``index[m]``."""
        return ModalityEmbeddings(
            {m: take(vectors, index[m]) for m, vectors in self.vectors.items()},
            {m: present[index[m]] for m, present in self.present.items()},
        )

    def each(self, change: Callable[[Tensor], Tensor]) -> "ModalityEmbeddings":
        """The same entities with every vector changed; the shape stays."""
        return replace(self, vectors={m: change(vectors) for m, vectors in self.vectors.items()})

    def detach(self) -> "ModalityEmbeddings":
        """The same entities, without gradients."""
        return self.each(Tensor.detach)


@dataclass(frozen=True)
class EntityData:
    """Inputs of an entity encoder's constructor.

    ``structure`` ``[N, e]``: initial structural vectors, or None for a model without structure; ``features``: frozen
    raw features by modality, pooled or as tokens; ``seen`` bool ``[N]``: entities of the train triples; ``triples``
    ``[T, 3]``: the train triples, along which a graph encoder passes messages; ``unprojected``: modalities whose raw
    features the fusion projects itself. The rest are settings of the model (see ``ModelConfig``).
    """

    width: int
    n_relations: int
    features: Mapping[str, Features | TokenFeatures]
    seen: Tensor
    structure: Tensor | None = None
    triples: Tensor = field(default_factory=no_triples)
    unprojected: frozenset[str] = frozenset()
    missing: Missing = "learned"
    missing_structure: MissingStructure = "learned"
    structure_dropout: float = 0.0
    modality_dropout: float = 0.0
    fine_tune: bool = False
    feature_scale: FeatureScale = "unit"


class EntityEncoder(nn.Module, ABC):
    """Turns entity ids into ``ModalityEmbeddings``.

    An encoder in a recipe is constructed with ``EntityData`` as its only positional argument. ``contexts``: names of
    further vectors that it gives in addition to the modalities, for fusions that use them. ``sparse``: whether the
    gradient of a table ``[N, ·]`` is a sparse tensor of the rows that were encoded, as row-sparse optimisers use it;
    training sets it.
    """

    contexts: ClassVar[tuple[str, ...]] = ()
    sparse = False

    @classmethod
    def incompatibility(cls, structure: bool, interaction: Interaction | None = None) -> str | None:
        """Why this encoder is incompatible with an interaction, or with (or without) structure; None if compatible."""
        return None

    def attach(self, interaction: Interaction, relations: nn.ParameterDict, name: str) -> None:
        """Receive the model's interaction and tables of relation vectors; that of structural terms is ``name``.

        They belong to the model: an encoder whose messages need them must not register them as its own, so it keeps
        them in a tuple, as ``graph_context.py`` does. The default ignores them. Relation vectors of an encoder's own
        are parameters of the encoder's width e.
        """

    @property
    @abstractmethod
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities: structure first (if the model has it), then those that have features."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of entities N."""

    @abstractmethod
    def encode(self, ids: Tensor | None = None, without: Tensor | None = None) -> ModalityEmbeddings:
        """Embeddings of the entities ``ids`` ``[B]``, by default of all N; ids should be distinct.

        ``without`` ``[b, 3]``: train triples whose messages are left out. In training this is the batch, whose triples
        the model has to predict.
        """

    @abstractmethod
    def encode_new(self, features: Mapping[str, Tensor]) -> ModalityEmbeddings:
        """Embeddings of entities outside the graph from raw features ``[B, d_m]`` of at least one modality."""

    @abstractmethod
    def raw(self, modality: str) -> Features:
        """Raw features ``[N, d_m]`` of a modality and their mask; of token features the mean over the tokens."""

    @abstractmethod
    def structural_table(self) -> Tensor | None:
        """The parameter ``[N, e]`` of structural vectors, before any message; None in a model without structure."""
