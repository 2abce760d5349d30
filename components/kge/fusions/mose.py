"""MoSE."""

from mmkgc.components.kge.fusions.base import Fusion, Term


class MoSE(Fusion):
    """An ensemble: each modality alone, with relation vectors of its own; trained apart, ranked by the mean score.

    Zhao et al. 2022, eq. 1–4, with average inference (MoSE-AI); the original divides features by a temperature, which
    the learned projection does here, and fills missing features with random numbers (``missing: random``).
    """

    separate = True

    @property
    def terms(self) -> tuple[Term, ...]:
        return tuple(self.unimodal(modality) for modality in self.modalities)

    def unimodal(self, modality: str) -> Term:
        return Term(modality, modality, relation=modality, weight=1 / len(self.modalities))
