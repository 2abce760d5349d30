"""Every negative sampler: no train positive, one source of randomness, nothing of its own forgotten.

``test_grid.py`` has the pairings with interactions and fusions, ``test_elsewhere.py`` the device.
"""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mmkgc.components.kge.batch_loss import batch_losses
from mmkgc.components.kge.compatibility import incompatibility
from mmkgc.components.kge.encoded_entities import EncodedEntities
from mmkgc.components.kge.graph import Graph, KnownTriples
from mmkgc.components.kge.losses import LOSSES
from mmkgc.components.kge.model import Model, ModelConfig
from mmkgc.components.kge.negatives import SAMPLERS
from mmkgc.components.kge.negatives.base import Context, NegativeSampler
from mmkgc.components.kge.negatives.samples import Batch, EntityNegatives, NegativeBlock, ids_of

MakeModel, MakeContext = Callable[..., Model], Callable[..., Context]
COUNT = 3
SETTINGS = ({"interaction": "rotate", "fusion": "sum"}, {"interaction": "rotate", "fusion": "tbkgc"})
LOGGED = {"loss", "triples_per_second"}  # by the trainer; so are names that begin with these:
PREFIXES = ("loss_", "dev_", "test_", "hardness_")
every_sampler = pytest.mark.parametrize("name", SAMPLERS.classes())


def settings(name: str) -> dict[str, Any]:
    """A model that the sampler works with."""
    loss, choice = LOSSES.resolve("self-adversarial"), SAMPLERS.resolve({"name": name, "count": COUNT})
    return next(one for one in SETTINGS if not incompatibility(ModelConfig(**one), ("visual", "textual"), choice, loss))


class Run:
    """A sampler with its model, batch and randomness."""

    def __init__(self, name: str, make_model: MakeModel, make_context: MakeContext, batch: Batch) -> None:
        self.model, self.batch = make_model(**settings(name)).eval(), batch
        self.context = make_context(self.model)
        self.sampler: NegativeSampler = SAMPLERS.create({"name": name, "count": COUNT}, self.context)

    def blocks(self) -> list[NegativeBlock]:
        """The blocks of a step, refined."""
        sampled = self.sampler.sample(self.batch, self.model)
        return self.sampler.refine(self.batch, sampled, self.encoded(sampled), self.model)

    def encoded(self, blocks: list[NegativeBlock]) -> EncodedEntities:
        """As in training: the entities of the batch, and those that the sampler names."""
        return self.model.encode([*ids_of(self.batch.triples, blocks), *self.sampler.further_ids()])

    def step(self) -> None:
        """A step without the model's own."""
        model, context = self.model, self.context
        blocks = self.sampler.sample(self.batch, model)
        scored = batch_losses(model, self.batch, blocks, context.loss, context.train, None, self.sampler).scored
        self.sampler.update(self.batch, scored, model)

    def epochs(self, *numbers: int) -> None:
        """Two steps in each of the epochs."""
        for number in numbers:
            self.sampler.begin_epoch(number, 3)
            for _ in range(2):
                self.step()


@pytest.fixture
def make_run(make_model: MakeModel, make_context: MakeContext, batch: Batch) -> Callable[[str], Run]:
    """Makes a run of the sampler of this name; equal names give equal runs."""

    def make(name: str) -> Run:
        torch.manual_seed(0)
        return Run(name, make_model, make_context, batch)

    return make


def tensors(blocks: list[NegativeBlock]) -> list[Tensor]:
    """Everything that blocks consist of."""
    found = []
    for block in blocks:
        found.append(block.rows)
        for side in (block.head, block.tail, block.positive_head, block.positive_tail):
            if isinstance(side, EntityNegatives):
                found += [side.ids, *side.parts.values()]
            elif side is not None:
                found += side.modal.vectors.values()
    return found


@every_sampler
def test_no_negative_is_a_train_triple(name: str, make_run: Callable[[str], Run], graph: Graph) -> None:
    run = make_run(name)
    known = KnownTriples(graph.train, len(graph.entities), len(graph.relations))
    for block in (block for block in run.blocks() if block.replaces_one_side):
        side = "tail" if block.head is None else "head"
        negatives: Any = block.tail if block.head is None else block.head
        if not negatives.parts:  # entities that replace one modality alone may be the positive's own
            collisions = known.collisions(run.batch.triples[block.rows], side, negatives.ids)
            assert not len(collisions), f"{len(collisions)} negatives are positives: draw them with `Corruption`"


@every_sampler
def test_the_generator_of_the_context_is_the_only_source_of_randomness(
    name: str, make_run: Callable[[str], Run]
) -> None:
    one, other = make_run(name), make_run(name)
    for run, seed in ((one, 1), (other, 2)):
        torch.manual_seed(seed)
        run.epochs(0)
    for ours, theirs in zip(tensors(one.blocks()), tensors(other.blocks()), strict=True):
        assert torch.equal(ours, theirs), "draw with generator=context.generator"


@every_sampler
def test_what_a_sampler_learns_is_in_its_optimizers_and_changes(name: str, make_run: Callable[[str], Run]) -> None:
    run = make_run(name)
    groups = [group for optimizer in run.sampler.optimizers.values() for group in optimizer.param_groups]
    optimised = {id(parameter) for group in groups for parameter in group["params"]}
    learned = dict(run.sampler.named_parameters())
    assert {id(parameter) for parameter in learned.values()} == optimised
    before = {key: parameter.detach().clone() for key, parameter in learned.items()}
    run.epochs(0, 1)
    assert all(not torch.equal(before[key], parameter) for key, parameter in learned.items())


@every_sampler
def test_metrics_have_names_of_their_own(name: str, make_run: Callable[[str], Run]) -> None:
    run = make_run(name)
    run.epochs(0)
    for metric in run.sampler.metrics():
        assert metric not in LOGGED, f"begin it with '{name.replace('-', '_')}_'"
        assert not metric.startswith(PREFIXES), f"begin it with '{name.replace('-', '_')}_'"


@every_sampler
def test_a_sampler_that_was_killed_goes_on_as_if_nothing_had_happened(
    name: str, make_run: Callable[[str], Run]
) -> None:
    run, again = make_run(name), make_run(name)
    run.epochs(0, 1)
    state = copy.deepcopy(run.sampler.state_dict())
    states = {key: copy.deepcopy(optimizer.state_dict()) for key, optimizer in run.sampler.optimizers.items()}
    again.sampler.load_state_dict(state)
    for key, optimizer in again.sampler.optimizers.items():
        optimizer.load_state_dict(states[key])
    again.context.generator.set_state(run.context.generator.get_state())
    run.epochs(2)
    again.epochs(2)
    for ours, theirs in zip(tensors(run.blocks()), tensors(again.blocks()), strict=True):
        assert torch.equal(ours, theirs), "keep it in a parameter or buffer, which a checkpoint holds"
