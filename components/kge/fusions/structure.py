"""Structure only."""

from components.kge.entities import STRUCTURE
from components.kge.fusions.base import Fusion, Term


class Structure(Fusion):
    """Structural vectors alone: the unimodal baseline."""

    @property
    def terms(self) -> tuple[Term, ...]:
        return (Term(STRUCTURE, STRUCTURE),)
