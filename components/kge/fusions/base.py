"""What a fusion is: views of an entity, and the terms that pair them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn

from mmkgc.components.kge.entity_encoders.base import STRUCTURE, ModalityEmbeddings
from mmkgc.components.kge.interactions.base import Interaction, Side

Tag = Literal["uni", "cross", "fused"]
ScoreTerms = Callable[[Tensor, Side], list[Tensor]]


@dataclass(frozen=True)
class Term:
    """weight × interaction(head's view, relation's vector of a table, tail's view).

    A view is a modality's name or one of the vectors that the fusion makes. The tag says whether the term compares a
    modality with itself (``uni``), with another (``cross``), or fused vectors. A term may bring an ``interaction`` of
    its own, whose widths its views and its relation table have; the default is the model's.
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
    """What a fusion works on.

    ``modalities``: those that there are, structure first where the model has it; ``width``: reals of one entity vector;
    ``raw_widths``: reals of each modality's raw features.
    """

    modalities: tuple[str, ...]
    width: int
    n_relations: int
    raw_widths: Mapping[str, int] = field(default_factory=dict)


class Fusion(nn.Module, ABC):
    """Turns modality vectors into named views; a triple's score is the sum of its terms over views.

    ``modalities``: those that it uses. Those in ``unprojected`` come as raw features, which the fusion projects itself,
    instead of projected linearly by the entity encoder. Views of a ``relational`` fusion depend on the triple's
    relation, whose ids ``[...]`` it then gets beside the embeddings; all-entity scores are then made relation by
    relation.
    """

    unprojected: frozenset[str] = frozenset()
    separate = False  # whether the objective looks at each term alone (an ensemble)
    relational = False

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.modalities, self.width = space.modalities, space.width

    def use(self, *features: str) -> None:
        """Use structure and these features alone; raises ``ValueError`` where the entities have no such features."""
        if missing := set(features) - set(self.modalities):
            raise ValueError(f"this fusion needs {' and '.join(sorted(missing))} features; extract them too")
        if STRUCTURE not in self.modalities:
            raise ValueError("this fusion needs structural vectors; set model.structure: true")
        self.modalities = (STRUCTURE, *features)

    @property
    @abstractmethod
    def terms(self) -> tuple[Term, ...]:
        """The terms whose sum is the score."""

    def unimodal(self, modality: str) -> Term:
        """The term that compares a modality with itself."""
        return Term(modality, modality, self.terms[0].relation)

    def fuse(self, modal: ModalityEmbeddings, relations: Tensor | None) -> dict[str, Tensor]:
        """Further views ``[..., e]`` beside the modalities themselves."""
        return {}

    def views(self, modal: ModalityEmbeddings, relations: Tensor | None = None) -> dict[str, Tensor]:
        """Every view ``[..., e]`` by name; without ``relations`` those that do not depend on one."""
        if self.relational and relations is None:
            return modal.vectors
        return modal.vectors | self.fuse(modal, relations)

    def needed_views(self, modal: ModalityEmbeddings, relations: Tensor, names: set[str]) -> dict[str, Tensor]:
        """At least the views ``names``; the modalities alone where no fused vector is among them."""
        return modal.vectors if names <= modal.vectors.keys() else self.views(modal, relations)

    def modality_weights(self, modal: ModalityEmbeddings, relations: Tensor | None = None) -> dict[str, Tensor] | None:
        """Weight ``[...]`` of each modality in an entity's fused vector; None where the fusion does not weigh."""
        return None

    def auxiliary(self, modal: ModalityEmbeddings) -> dict[str, Tensor]:
        """Further scalar losses, weighted, of the entities of a batch, by name."""
        return {}

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        """Called before epoch ``epoch`` (from 0) of ``epochs``."""

    def fit(self, score_terms: ScoreTerms, triples: Tensor) -> None:
        """Learn from the development ``triples[V, 3]`` after training, how to weigh terms for instance.

        ``score_terms(triples, side)`` gives each term's scores ``[V, N]`` of all entities on a side, without weights.
        """
