"""What a fusion is: views of an entity, and the terms that pair them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from mmkgc.components.kge.entity_encoders.table import STRUCTURE, ModalityEmbeddings

Tag = Literal["uni", "cross", "fused"]


@dataclass(frozen=True)
class Term:
    """weight × interaction(head's view, relation's vector of a table, tail's view).

    A view is a modality's name or one of the vectors that the fusion makes. The tag says whether the term compares a
    modality with itself (``uni``), with another (``cross``), or fused vectors.
    """

    head: str
    tail: str
    relation: str = "relation"
    weight: float = 1.0
    tag: Tag = "uni"


@dataclass(frozen=True)
class Space:
    """What a fusion works on: the modalities that there are, structure first; reals of one entity vector; relations."""

    modalities: tuple[str, ...]
    width: int
    n_relations: int


class Fusion(nn.Module, ABC):
    """Turns modality vectors into named views; a triple's score is the sum of its terms over views.

    ``modalities``: those that it uses. Views of a ``relational`` fusion depend on the triple's relation, whose ids
    ``[...]`` it then gets beside the entities' vectors; all-entity scores are then made relation by relation.
    """

    separate = False  # whether the objective looks at each term alone (an ensemble)
    relational = False

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.modalities, self.width = space.modalities, space.width

    def use(self, *features: str) -> None:
        """Use structure and these features alone; raises ``ValueError`` where the entities have no such features."""
        if missing := set(features) - set(self.modalities):
            raise ValueError(f"this fusion needs {' and '.join(sorted(missing))} features; extract them too")
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

    def shares(self, modal: ModalityEmbeddings, relations: Tensor | None = None) -> dict[str, Tensor] | None:
        """Weight ``[...]`` of each modality in an entity's fused vector; None where the fusion does not weigh."""
        return None

    def auxiliary(self, modal: ModalityEmbeddings) -> dict[str, Tensor]:
        """Further scalar losses, weighted, of the entities of a batch, by name."""
        return {}
