"""Row-sparse optimisers agree with the dense ones where they must, and leave all other rows alone."""

from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.kge.features import Features
from mmkgc.components.kge.graph import Graph, Vocabulary, no_triples
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.train import precision
from mmkgc.components.train.config import OptimizerConfig, TrainConfig
from mmkgc.components.train.optimizers import lazy_adam, make_optimizer
from mmkgc.components.train.optimizers.making import ROW_SPARSE
from mmkgc.components.train.trainer import Trainer
from mmkgc.pipeline import scale

ROWS, WIDTH, LR = 6, 4, 0.1
SIZE = 50_000  # entities of a large graph
DENSE = {"row-adagrad": torch.optim.Adagrad, "lazy-adam": torch.optim.Adam}
every_optimizer = pytest.mark.parametrize("name", ROW_SPARSE)
batches = st.lists(st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=ROWS, unique=True), min_size=1, max_size=6)


def table(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64))


def descend(
    optimizer: torch.optim.Optimizer, parameter: nn.Parameter, gradients: list[Tensor]
) -> tuple[Tensor, dict[str, Any]]:
    """The parameter after a step with each of the gradients, and the optimiser's state of it."""
    for gradient in gradients:
        parameter.grad = gradient
        optimizer.step()
    return parameter.detach().clone(), optimizer.state[parameter]


def gradients_of(batches: list[list[int]], width: int = WIDTH) -> list[Tensor]:
    """One sparse gradient of a table for each batch of rows; the second half of its rows comes twice, in halves."""
    random, found = torch.Generator().manual_seed(1), []
    for rows in batches:
        values = torch.randn(len(rows), width, generator=random, dtype=torch.float64)
        twice = len(rows) // 2
        index = torch.tensor(rows + rows[:twice])
        values = torch.cat([values[:twice] / 2, values[twice:], values[:twice] / 2])
        found.append(torch.sparse_coo_tensor(index.unsqueeze(0), values, (ROWS, width)))
    return found


def make(name: str, parameter: nn.Parameter, weight_decay: float = 0.0) -> torch.optim.Optimizer:
    return make_optimizer(OptimizerConfig(name=name, lr=LR, weight_decay=weight_decay), [parameter])


@given(batches=batches)
@settings(deadline=None, max_examples=40)
def test_row_adagrad_gives_the_same_with_sparse_and_dense_gradients(batches: list[list[int]]) -> None:
    sparse, dense = table(ROWS, WIDTH), table(ROWS, WIDTH)
    gradients = gradients_of(batches)
    one, _ = descend(make("row-adagrad", sparse), sparse, gradients)
    other, _ = descend(make("row-adagrad", dense), dense, [gradient.to_dense() for gradient in gradients])
    assert torch.allclose(one, other, rtol=1e-12)


@given(batches=batches)
@settings(deadline=None, max_examples=40)
def test_row_adagrad_is_adagrad_where_rows_have_one_number(batches: list[list[int]]) -> None:
    sparse, dense = table(ROWS, 1), table(ROWS, 1)
    gradients = gradients_of(batches, width=1)
    ours, _ = descend(make("row-adagrad", sparse), sparse, gradients)
    theirs, _ = descend(torch.optim.Adagrad([dense], lr=LR), dense, [g.to_dense() for g in gradients])
    assert torch.allclose(ours, theirs, rtol=1e-9)


@given(batches=batches)
@settings(deadline=None, max_examples=40)
def test_lazy_adam_is_the_sparse_adam_of_pytorch(batches: list[list[int]]) -> None:
    ours, theirs = table(ROWS, WIDTH), table(ROWS, WIDTH)
    with mock.patch.object(lazy_adam, "EPSILON", 1e-15):  # theirs is added before the bias correction
        one, _ = descend(make("lazy-adam", ours), ours, gradients_of(batches))
    peer = torch.optim.SparseAdam([theirs], lr=LR, eps=1e-15)
    other, _ = descend(peer, theirs, gradients_of(batches))
    assert torch.allclose(one, other, rtol=1e-9)


@every_optimizer
def test_it_is_the_dense_optimizer_for_parameters_that_are_no_tables(name: str) -> None:
    ours, theirs = table(WIDTH), table(WIDTH)
    gradients = [torch.randn(WIDTH, dtype=torch.float64) for _ in range(5)]
    one, _ = descend(make(name, ours), ours, gradients)
    other, _ = descend(DENSE[name]([theirs], lr=LR), theirs, gradients)
    assert torch.allclose(one, other, atol=1e-8)


def test_lazy_adam_is_adam_where_every_batch_reads_every_row() -> None:
    ours, theirs = table(ROWS, WIDTH), table(ROWS, WIDTH)
    gradients = gradients_of([list(range(ROWS))] * 5)
    one, _ = descend(make("lazy-adam", ours), ours, gradients)
    other, _ = descend(torch.optim.Adam([theirs], lr=LR), theirs, [g.to_dense() for g in gradients])
    assert torch.allclose(one, other, rtol=1e-6)


@every_optimizer
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_rows_that_a_batch_does_not_read_stay_as_they_are(name: str, weight_decay: float) -> None:
    parameter = table(ROWS, WIDTH)
    before = parameter.detach().clone()
    optimizer = make(name, parameter, weight_decay)
    descend(optimizer, parameter, gradients_of([[0, 3], [3], [0]]))
    untouched = [1, 2, 4, 5]
    assert torch.equal(parameter[untouched], before[untouched])
    assert not torch.isclose(parameter[[0, 3]], before[[0, 3]]).any()


@every_optimizer
def test_weight_decay_adds_the_rows_themselves_to_their_gradients(name: str) -> None:
    decayed, plain = table(ROWS, WIDTH), table(ROWS, WIDTH)
    (gradient,) = gradients_of([[1, 2]])
    one, _ = descend(make(name, decayed, weight_decay=0.5), decayed, [gradient])
    added = gradient.to_dense() + torch.zeros_like(plain).index_copy(0, torch.tensor([1, 2]), 0.5 * plain[[1, 2]])
    other, _ = descend(make(name, plain), plain, [added.to_sparse(1)])
    assert torch.allclose(one, other)


def test_the_state_of_row_adagrad_is_one_number_a_row() -> None:
    parameter = table(ROWS, WIDTH)
    _, state = descend(make("row-adagrad", parameter), parameter, gradients_of([[0]]))
    assert state["sum"].shape == (ROWS,)


def trained(toy: MMKG, features: dict[str, Features], **changes: Any) -> Trainer:
    """A trainer whose batches read few of the entities."""
    base: dict[str, Any] = {
        "model": {"dimension": 8, "interaction": "complex", "fusion": "sum"},
        "negatives": {"name": "shared", "count": 2},
        "optimizer": {"name": "row-adagrad", "lr": 0.1},
        "batch_size": 4,
        "epochs": 1,
    }
    return Trainer(toy.graph, features, TrainConfig(**(base | changes)))


def grown(trainer: Trainer) -> int:
    """Entities whose structural vector a step has moved."""
    before = trainer.model.entities.structural_table().detach().clone()  # type: ignore[union-attr]
    trainer.model.train()
    trainer.step(next(trainer.shuffled()))
    after = trainer.model.entities.structural_table()
    assert after is not None
    return int((after != before).any(1).sum())


@every_optimizer
def test_a_step_of_training_moves_the_rows_of_its_batch(
    name: str, toy_mmkg: MMKG, toy_features: dict[str, Features]
) -> None:
    trainer = trained(toy_mmkg, toy_features, optimizer={"name": name, "lr": 0.1})
    assert 0 < grown(trainer) <= 4 * 2 + 2 * 2 < len(toy_mmkg.graph.entities)
    table = trainer.model.entities.structural_table()
    assert table is not None
    assert table.grad is not None
    assert table.grad.is_sparse


class Watch(TorchDispatchMode):
    """Notes every operation that reads or makes a tensor of at least ``size`` numbers as a whole."""

    OF_ROWS = ("index", "index_select", "embedding", "index_add_", "index_copy_", "_sparse_coo_tensor_unsafe")

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.whole = size, set[str]()

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        found = function(*arguments, **(named or {}))
        read, made = (
            [each for each in tree_flatten(values)[0] if isinstance(each, Tensor) and each.layout == torch.strided]
            for values in ((arguments, named), found)
        )
        held = {each.untyped_storage().data_ptr() for each in read}
        views = made and all(each.untyped_storage().data_ptr() in held for each in made)
        name = function.overloadpacket.__name__
        touched = made if name in self.OF_ROWS else [*read, *made]
        changes = function._schema.is_mutable and name not in self.OF_ROWS
        if (changes or not views) and any(each.numel() >= self.size for each in touched):
            self.whole.add(name)
        return found


def large(share: float, name: str = "row-adagrad", **changes: Any) -> Trainer:
    """A training with the settings for large graphs; ``share`` of its 50,000 entities have features."""
    random = torch.Generator().manual_seed(0)
    keys = tuple(map(str, range(SIZE)))
    train = torch.randint(SIZE, (200, 3), generator=random)
    train[:, 1] = 0
    graph = Graph(Vocabulary(keys, keys), Vocabulary(("r",), ("r",)), train, no_triples(), no_triples())
    mask = torch.rand(SIZE, generator=random) < share
    features = {"textual": Features(torch.randn(SIZE, 8, generator=random) * mask.unsqueeze(1), mask)}
    model = {"dimension": 8, "interaction": "complex", "fusion": "sum", "structure_dropout": 1 - share}
    optimizer = {"name": name, "lr": 0.1}
    changes = {"model": model, "optimizer": optimizer, "batch_size": 32, "epochs": 1} | changes
    config = TrainConfig(**scale.TRAINING | changes)  # type: ignore[arg-type]
    trainer = Trainer(graph, features, config)
    trainer.model.train()
    return trainer


@every_optimizer
@pytest.mark.parametrize("share", [1.0, 0.7])
@pytest.mark.parametrize("loss", [{}, {"loss": {"name": "grouped-cross-entropy", "candidates": 20}, "negatives": None}])
def test_no_operation_of_a_step_costs_as_much_as_there_are_entities(
    name: str, share: float, loss: dict[str, Any]
) -> None:
    """Also where some entities have no features, and some structural vectors are dropped."""
    trainer = large(share, name, **loss)
    first, second, *_ = trainer.shuffled()
    trainer.step(first)  # makes the optimiser's state
    with Watch(SIZE) as watch:
        trainer.step(second)
    assert watch.whole == set()


class Shapes(TorchDispatchMode):
    """Notes the shapes of the factors of each bfloat16 product, which oneDNN compiles and keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.found = set[tuple[torch.Size, ...]]()

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        factors = [each for each in arguments if isinstance(each, Tensor)]
        if function.overloadpacket.__name__ in ("mm", "addmm", "bmm", "baddbmm"):
            self.found |= {tuple(each.shape for each in factors)} if factors[-1].dtype == torch.bfloat16 else set()
        return function(*arguments, **(named or {}))


def test_steps_in_bfloat16_multiply_matrices_of_few_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the memory of the process grows with each step, by what oneDNN has compiled."""
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: True)  # emulated where it is not
    trainer = large(1.0, precision="bfloat16")
    with Shapes() as shapes:
        for rows in trainer.shuffled():
            trainer.step(rows)
    assert len(shapes.found) == 2  # the projection of the texts, and the gradient of its weights


def test_gradients_are_those_of_the_dense_table(toy_mmkg: MMKG, toy_features: dict[str, Features]) -> None:
    """With one accumulator a row and sparse gradients, as with the dense gradients of the same steps."""

    def losses(sparse: bool) -> list[float]:
        trainer = trained(toy_mmkg, toy_features)
        trainer.model.entities.sparse = sparse
        trainer.model.train()
        return [sum(map(float, trainer.step(rows).values())) for rows in trainer.shuffled()][:20]

    assert losses(sparse=True) == pytest.approx(losses(sparse=False), rel=1e-5)


def test_the_norm_of_sparse_gradients_is_clipped(toy_mmkg: MMKG, toy_features: dict[str, Features]) -> None:
    trainer = trained(toy_mmkg, toy_features, optimizer={"name": "row-adagrad", "lr": 0.1, "clip": 1e-3})
    grown(trainer)
    dense = [each.grad.to_dense() for each in trainer.parameters if each.grad is not None]
    norm = torch.stack([gradient.norm() for gradient in dense]).norm()
    assert norm.item() == pytest.approx(1e-3, rel=1e-4)


def test_several_processes_are_refused(
    toy_mmkg: MMKG, toy_features: dict[str, Features], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmkgc.components.train import trainer as module

    monkeypatch.setattr(module.Group, "join", lambda device: module.Group(0, 2))
    with pytest.raises(UserError, match=r"optimizer\.name.*row-adagrad.*one process"):
        trained(toy_mmkg, toy_features)
