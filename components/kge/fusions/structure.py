"""Structure only."""

from mmkgc.components.kge.entity_encoders.base import STRUCTURE
from mmkgc.components.kge.fusions.base import Fusion, Space, Term


class Structure(Fusion):
    """Structural vectors only: the unimodal baseline."""

    reads_features = False

    def __init__(self, space: Space) -> None:
        super().__init__(space)
        self.use()

    @property
    def terms(self) -> tuple[Term, ...]:
        return (Term(STRUCTURE, STRUCTURE),)
