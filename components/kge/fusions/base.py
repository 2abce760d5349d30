"""Interface of fusions: views of an entity, and the terms that compare them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import Tensor, nn

from mmkgc.components.kge.entity_encoders.base import STRUCTURE, EntityEncoder, ModalityEmbeddings
from mmkgc.components.kge.features import Features, TokenFeatures
from mmkgc.components.kge.graph import no_triples
from mmkgc.components.kge.interactions.base import Interaction, Side
from mmkgc.components.kge.tensors import total

Tag = Literal["uni", "cross", "fused"]
ScoreTerms = Callable[[Tensor, Side], list[Tensor]]


@dataclass(frozen=True)
class Term:
    """weight × interaction(head's view, relation's vector of a table, tail's view).

    A view is a modality's name or one of the vectors that the fusion makes. The tag says whether the term compares a
    modality with itself (``uni``), with another (``cross``), or fused vectors. A term may have its own ``interaction``,
    which determines the widths of its views and its relation table; the default is the model's.
    """

    head: str
    tail: str
    relation: str = "relation"
    weight: float = 1.0
    tag: Tag = "uni"
    interaction: Interaction | None = None

    def weighed(self, score: Tensor) -> Tensor:
        """The score times the term's weight."""
        return score if self.weight == 1 else self.weight * score


def views_of(terms: Iterable[Term]) -> set[str]:
    """Names of the views that the terms compare."""
    return {view for term in terms for view in (term.head, term.tail)}


@dataclass(frozen=True)
class Space:
    """Inputs of a fusion's constructor.

    ``modalities``: the available ones, structure first if the model has it; ``width``: reals of one entity vector;
    ``n_relations``: R, also with reciprocal relations, because a fusion gets the ids of the triples' own relations;
    ``raw_widths``: reals of each modality's raw features; ``features``: the raw features; ``triples`` ``[T, 3]``: the
    train triples; ``interaction``: the model's; ``make_interaction``: makes another one of a given dimension;
    ``contexts``: further vectors from the entity encoder. There are no features and no triples if parts are only
    checked for compatibility.
    """

    modalities: tuple[str, ...]
    width: int
    n_relations: int
    raw_widths: Mapping[str, int] = field(default_factory=dict)
    features: Mapping[str, Features | TokenFeatures] = field(default_factory=dict)
    triples: Tensor = field(default_factory=no_triples)
    interaction: Interaction | None = None
    contexts: tuple[str, ...] = ()
    make_interaction: Callable[[int], Interaction] | None = None


class Fusion(nn.Module, ABC):
    """Turns modality vectors into named views; a triple's score is the sum of its terms over views.

    ``modalities``: those that it uses of the ``available`` ones. Those in ``unprojected`` are raw features, which the
    fusion projects itself instead of the entity encoder (they are still scaled by the model's ``feature_scale``). Views
    of a ``relational`` fusion depend on the triple's relation, whose ids ``[...]`` it gets in addition to the
    embeddings; all-entity scores are then computed relation by relation. ``reads_features``: whether it uses any
    features, if there are some.
    """

    reads_features: ClassVar[bool] = True
    unprojected: frozenset[str] = frozenset()
    fitted: ClassVar[tuple[str, ...]] = ()  # beginnings of the names of parameters and buffers that ``fit`` sets
    separate = False  # whether each term has a separate loss (an ensemble)
    relational = False

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.modalities = self.available = space.modalities
        self.width = space.width

    def use(self, *features: str) -> None:
        """Use only structure and these features; raises ``ValueError`` if the entities have no such features."""
        if missing := set(features) - set(self.modalities):
            raise ValueError(f"this fusion needs {' and '.join(sorted(missing))} features; extract them too")
        if STRUCTURE not in self.modalities:
            raise ValueError("this fusion needs structural vectors; set model.structure: true")
        self.modalities = (STRUCTURE, *features)

    def use_all(self) -> tuple[str, ...]:
        """Use structure and all available features; return their names. At least one is needed."""
        features = tuple(m for m in self.modalities if m != STRUCTURE)
        self.use(*(features or ("further",)))
        return features

    @property
    @abstractmethod
    def terms(self) -> tuple[Term, ...]:
        """The terms whose sum is the score."""

    def unimodal(self, modality: str) -> Term:
        """The term that compares a modality with itself."""
        return Term(modality, modality, self.terms[0].relation)

    def combine(self, terms: Sequence[Term], scores: Sequence[Tensor], relations: Tensor) -> Tensor:
        """The score ``[...]`` from the ``scores`` of the terms, for triples with ``relations``, which broadcast."""
        return total(term.weighed(score) for term, score in zip(terms, scores, strict=True))

    def fuse(self, modal: ModalityEmbeddings, relations: Tensor | None) -> dict[str, Tensor]:
        """Further views ``[..., e]`` in addition to the modalities themselves.

        ``relations`` ``[...]``: ids, which broadcast, in a ``relational`` fusion; sometimes None in any other. The
        vectors of relations that the fusion needs are its own parameters.
        """
        return {}

    def views(self, modal: ModalityEmbeddings, relations: Tensor | None = None) -> dict[str, Tensor]:
        """Every view ``[..., e]`` by name; without ``relations``, only those that do not depend on the relation."""
        if self.relational and relations is None:
            return modal.vectors
        return modal.vectors | self.fuse(modal, relations)

    def needed_views(self, modal: ModalityEmbeddings, relations: Tensor, names: set[str]) -> dict[str, Tensor]:
        """At least the views ``names``; only the modalities if no fused vector is among them."""
        return modal.vectors if names <= modal.vectors.keys() else self.views(modal, relations)

    def modality_weights(self, modal: ModalityEmbeddings, relations: Tensor | None = None) -> dict[str, Tensor] | None:
        """Weight ``[...]`` of each modality in an entity's fused vector; None if the fusion has no weights."""
        return None

    def auxiliary(self, modal: ModalityEmbeddings) -> dict[str, Tensor]:
        """Weighted auxiliary losses (scalars, by name) of the encoded entities: a batch's with its negatives', or all.

        They must be finite, also if none of the entities has a modality.
        """
        return {}

    def begin_epoch(self, epoch: int, epochs: int, entities: EntityEncoder) -> None:
        """Called before epoch ``epoch`` (from 0) of ``epochs``; ``entities`` gives the embeddings of any of them."""

    def selectable(self, epoch: int, epochs: int) -> bool:
        """Whether the model after epoch ``epoch`` (from 0) may be selected; patience counts only such epochs."""
        return True

    def fit(self, score_terms: ScoreTerms, triples: Tensor) -> None:
        """Fit parameters on the development ``triples[V, 3]`` after training, such as weights of terms.

        ``score_terms(triples, side)`` gives each term's scores ``[V, N]`` of all entities on a side, without weights.
        """
