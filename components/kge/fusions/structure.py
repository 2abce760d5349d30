"""Structure only."""

from components.kge.entities import STRUCTURE
from components.kge.fusions.base import Fusion, Term


class Structure(Fusion):
    """Structural vectors alone: the unimodal baseline."""

    def __init__(self, modalities: tuple[str, ...], width: int) -> None:
        super().__init__(modalities, width)
        self.use()

    @property
    def terms(self) -> tuple[Term, ...]:
        return (Term(STRUCTURE, STRUCTURE),)
