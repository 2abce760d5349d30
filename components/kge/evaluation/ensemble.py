"""Several models of one graph ranked as one."""

from collections.abc import Callable, Sequence

from torch import Tensor

from mmkgc.components.kge.evaluation.ranks import Scorer, Untrained
from mmkgc.components.kge.tensors import total


class Ensemble(Untrained):
    """Scores are the mean of the models' log-probabilities, log softmax over all entities.

    Scores of different models have no common scale, their log-probabilities have. ``shares`` of the models in the mean,
    which sum to 1, are equal by default: for models of one recipe with several seeds there is nothing to choose.
    ``guide``: scores that are added with a weight, such as those of rules.
    """

    def __init__(
        self,
        models: Sequence[Scorer],
        guide: Scorer | None = None,
        weight: float = 0.0,
        shares: Sequence[float] | None = None,
    ) -> None:
        self.models, self.guide, self.weight = tuple(models), guide, weight
        self.shares = tuple(shares or [1 / len(self.models)] * len(self.models))

    def freeze(self) -> "Ensemble":
        """Prepare all models for scoring."""
        for model in self.models:
            model.freeze()
        return self

    def score_tails(self, heads: Tensor, relations: Tensor) -> Tensor:
        """Mean log-probabilities ``[B, N]`` of every entity as the tail of ``(heads[B], relations[B], ?)``."""
        return self._mean(lambda model: model.score_tails(heads, relations))

    def score_heads(self, relations: Tensor, tails: Tensor) -> Tensor:
        """Mean log-probabilities ``[B, N]`` of every entity as the head of ``(?, relations[B], tails[B])``."""
        return self._mean(lambda model: model.score_heads(relations, tails))

    def _mean(self, score: Callable[[Scorer], Tensor]) -> Tensor:
        parts = zip(self.shares, self.models, strict=True)
        mean = total(share * score(model).log_softmax(1) for share, model in parts)
        return mean if self.guide is None else mean + self.weight * score(self.guide).to(mean)
