"""Models of several recipes ranked together, by weights that the development split chooses or the user gives."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.evaluation.ensemble import Ensemble
from mmkgc.components.kge.evaluation.ranks import Scorer, mrr, rank
from mmkgc.components.kge.graph import Graph, KnownTriples

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5)  # of a further recipe's models in the mean; the development split chooses one
RULE_WEIGHTS = (0.1, 0.2, 0.3, 0.5, 0.8)  # of rules beside models; chosen likewise
SAMPLE = 1000  # development triples that are ranked for a choice


class Weights(NamedTuple):
    """How models are ranked together; None: the development split chooses.

    ``shares``: of the second and each further recipe in the mean of those before it and it; ``rules``: the weight of
    rules beside the models.
    """

    shares: tuple[float, ...] | None = None
    rules: float | None = None


CHOSEN = Weights()


class Mixture:
    """Models of one or more recipes, to be ranked together; ``graph`` chooses their shares."""

    def __init__(self, rows: Sequence[dict[str, Any]], bundles: Sequence[Bundle], graph: Graph) -> None:
        self.models = [bundle.model for bundle in bundles]
        self.recipes = list(dict.fromkeys(row["bench"] for row in rows))
        self.recipe_of = [self.recipes.index(row["bench"]) for row in rows]
        some = torch.randperm(len(graph.valid), generator=torch.Generator().manual_seed(0))[:SAMPLE]
        self.known = KnownTriples(graph.selection_triples, len(graph.entities), len(graph.relations))
        self.questions = graph.valid[some]

    def of_recipes(self, shares: Sequence[float]) -> list[float]:
        """Shares of all recipes, which sum to 1, from those of the second and further ones."""
        found = [1.0]
        for share in shares:
            found = [*((1 - share) * before for before in found), share]
        return [round(share, 6) for share in found] + [0.0] * (len(self.recipes) - len(found))

    def ensemble(self, shares: Sequence[float], guide: Scorer | None = None, weight: float = 0.0) -> Ensemble:
        """All models, where those of a recipe divide its share; recipes without one are left out."""
        of_recipes = self.of_recipes(shares)
        each = [of_recipes[recipe] / self.recipe_of.count(recipe) for recipe in self.recipe_of]
        used = [number for number, share in enumerate(each) if share]
        return Ensemble([self.models[n] for n in used], guide, weight, [each[n] for n in used])

    def best_shares(self) -> tuple[float, ...]:
        """One recipe after the other, the share with the best development MRR."""
        shares: tuple[float, ...] = ()
        for _ in self.recipes[1:]:
            shares = max(((*shares, share) for share in SHARES), key=lambda tried: self._mrr(self.ensemble(tried)))
        return shares

    def best_weight(self, guide: Scorer, shares: Sequence[float]) -> float:
        """The weight of ``guide`` beside the models with the best development MRR."""
        return max(RULE_WEIGHTS, key=lambda weight: self._mrr(self.ensemble(shares, guide, weight)))

    def _mrr(self, scorer: Scorer) -> float:
        return mrr(rank(scorer, self.questions, self.known))
