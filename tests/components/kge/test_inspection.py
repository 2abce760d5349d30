"""What a look at negatives tells, for every sampler."""

import json
from collections.abc import Callable

import pytest
import torch

from mmkgc.components.kge.graph import Graph, KnownTriples
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.negatives import SAMPLERS
from mmkgc.components.kge.negatives.base import Context
from mmkgc.components.kge.negatives.inspection import EACH, SHOWN, hardness, inspect
from mmkgc.components.kge.negatives.samples import Batch, EntityNegatives, NegativeBlock, ScoredBlock

MakeModel, MakeContext = Callable[..., Model], Callable[..., Context]


@pytest.mark.parametrize("name", SAMPLERS.classes())
def test_every_sampler_can_be_looked_at(
    name: str, make_model: MakeModel, make_context: MakeContext, graph: Graph
) -> None:
    model = make_model(interaction="transe", fusion={"name": "ikrl", "modality": "textual"}).freeze()
    sampler = SAMPLERS.create({"name": name, "count": 6}, make_context(model))
    sampler.begin_epoch(0, 1)
    found = json.loads(json.dumps(inspect(sampler, model, graph.train[:40], KnownTriples(graph.valid, 30, 3))))
    assert [each["triple"] for each in found["shown"]] == graph.train[:SHOWN].tolist()
    assert 0 <= found["false"] <= found["sampled"]
    for each in found["shown"]:
        score = model.score_triples(torch.tensor([each["triple"]])).item()
        assert name in ("dhns", "perturbation") or each["score"] == pytest.approx(score, abs=1e-3)
        assert each["negatives"]
        assert all({"head", "tail"} & negative.keys() for negative in each["negatives"])
    counts = [sum(n["kind"] == "negatives" for n in each["negatives"]) for each in found["shown"]]
    assert max(counts) <= EACH


def test_held_out_triples_among_the_negatives_are_counted(
    make_model: MakeModel, make_context: MakeContext, graph: Graph
) -> None:
    """If every triple outside train is held out, each sampled negative is false; if none is, no one is."""
    model = make_model(fusion="structure").freeze()
    everything = torch.cartesian_prod(torch.arange(30), torch.arange(3), torch.arange(30))
    outside = everything[~KnownTriples(graph.train, 30, 3).contains(everything)]
    for held_out, share in ((outside, 1), (graph.train, 0)):
        sampler = SAMPLERS.create({"name": "uniform", "count": 5}, make_context(model))
        found = inspect(sampler, model, graph.train[:40], KnownTriples(held_out, 30, 3))
        assert found["sampled"] == 200
        assert found["false"] == share * 200


def test_generated_entities_are_described_by_their_nearest_neighbours(
    make_model: MakeModel, make_context: MakeContext, graph: Graph
) -> None:
    model = make_model(interaction="transe", fusion="adamf").freeze()
    found = inspect(
        SAMPLERS.create("mat", make_context(model)), model, graph.train[:40], KnownTriples(graph.valid, 30, 3)
    )
    head, _, _ = found["shown"][0]["triple"]
    fakes = [n["head"]["nearest"] for n in found["shown"][0]["negatives"] if "nearest" in n.get("head", {})]
    assert fakes
    assert all(near["structure"] == {"entity": head, "cosine": 1.0} for near in fakes)  # MAT keeps the structure
    assert all({"visual", "textual"} <= near.keys() for near in fakes)


def test_hardness_is_a_half_for_negatives_that_score_as_positives(batch: Batch) -> None:
    block = NegativeBlock(torch.arange(3), tail=EntityNegatives(torch.zeros(3, 2, dtype=torch.long)))
    positive = torch.tensor([1.0, 2.0, 3.0])
    same = hardness([ScoredBlock(block, positive, positive.unsqueeze(1).expand(3, 2))])
    assert same == {"hardness_negatives": pytest.approx(0.5)}
    easy = hardness([ScoredBlock(block, positive, positive.unsqueeze(1).expand(3, 2) - 20)])
    assert easy["hardness_negatives"] < 1e-6
