"""A table of entities that is divided among processes: the same losses, and other processes go on from its parts."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.kge.batch_loss import batch_losses
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.negatives import SAMPLERS
from mmkgc.components.kge.negatives.base import Context
from mmkgc.components.kge.tensors import total
from mmkgc.components.train.config import TrainConfig
from mmkgc.components.train.trainer import Trainer
from mmkgc.feature_store.storage import Storage, Stored
from mmkgc.serving.engine.engine import Engine
from tests.components.train import sharded_steps
from tests.components.train.sharded_steps import SETTINGS, STEPS, N

pytest.importorskip("torchrec")


def launched(processes: int, *command: str, **environment: str) -> subprocess.Popen[str]:
    """The command under torchrun."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    paths = os.pathsep.join([str(Path.cwd()), *sys.path])
    return subprocess.Popen(
        [*launcher, *command],
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> str:
    told, _ = process.communicate(timeout=400)
    assert not process.returncode, told[-3000:]
    return told


def epoch_of(folder: Path) -> int:
    """The epoch of the last whole checkpoint; 0 without one."""
    found = [json.loads(path.read_text())["epoch"] for path in folder.glob("scratch/train/*/checkpoint.json")]
    return max(found, default=0)


def until(reached: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait while the process runs."""
    deadline = time.monotonic() + 150
    while not reached():
        assert process.poll() is None, process.communicate()[0][-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def reference(processes: int, steps: int) -> tuple[list[float], torch.Tensor]:
    """Losses and table of one process with the table undivided, which draws the negatives of each process in turn."""
    undivided = SETTINGS | {"model": SETTINGS["model"] | {"encoder": "table"}}
    graph, features = sharded_steps.graph(), sharded_steps.features()
    trainer = Trainer(graph, features, TrainConfig.model_validate(undivided))
    samplers = []
    for rank in range(processes):
        draws = torch.Generator().manual_seed(trainer.config.seed + rank)
        context = Context(trainer.model, graph, trainer.train_known, draws, trainer.loss, features)
        assert trainer.config.negatives is not None
        samplers.append(SAMPLERS.create(trainer.config.negatives, context))
    trainer.model.train()
    losses = []
    for rows in islice(sharded_steps.batches(trainer), steps):
        trainer.optimizer.zero_grad()
        whole = 0.0
        for rank, sampler in enumerate(samplers):
            if not len(mine := rows[rank::processes]):
                continue
            batch = trainer._batch(mine)
            blocks = sampler.sample(batch, trainer.model)
            found, _ = batch_losses(
                trainer.model, batch, blocks, trainer.loss, trainer.train_known, trainer.regularizer, sampler
            )
            part = total(found.values()) * (len(mine) / len(rows))
            part.backward()
            whole += part.item()
        trainer.optimizer.step()
        trainer.schedule.step()
        losses.append(whole)
    table = trainer.model.entities.structural_table()
    assert table is not None
    return losses, table.detach()


@pytest.mark.slow
def test_losses_and_table_are_those_of_one_process_and_three_go_on_where_two_ended(tmp_path: Path) -> None:
    finished(launched(2, str(Path(sharded_steps.__file__)), str(tmp_path), str(STEPS)))
    parts = [json.loads((tmp_path / f"losses-{rank}.json").read_text()) for rank in range(2)]
    losses, table = reference(2, STEPS)
    assert [sum(both) for both in zip(*parts, strict=True)] == pytest.approx(losses, abs=1e-5)
    states = [torch.load(tmp_path / f"state-{rank}.pt") for rank in range(2)]
    torch.testing.assert_close(states[0]["table"], table, atol=1e-5, rtol=1e-4)
    assert torch.equal(states[0]["table"], states[1]["table"])
    assert [len(state["sums"]) for state in states] == [151, 150]

    finished(launched(3, str(Path(sharded_steps.__file__)), str(tmp_path), "0"))
    later = [torch.load(tmp_path / f"state-{rank}.pt") for rank in range(3)]
    assert torch.equal(later[0]["table"], states[0]["table"])
    assert [len(state["sums"]) for state in later] == [101, 101, 99]
    assert [each for state in later for each in state["sums"]] == [each for state in states for each in state["sums"]]
    for name, tensor in states[0]["dense"].items():
        assert torch.equal(later[2]["dense"][name], tensor)
    assert len(list(tmp_path.glob("checkpoint-*.pt"))) == 3


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_run_of_two_is_finished_by_three_and_serves_what_the_undivided_model_says(
    toy_mmkg: MMKG, storage: Storage, graph: Stored, mmkgc_home: Path, tmp_path: Path
) -> None:
    settings: dict[str, Any] = SETTINGS | {
        "model": {"dimension": 8, "interaction": "complex", "fusion": "structure", "encoder": "sharded"},
        "epochs": 60,
        "evaluate_every": 20,
        "patience": None,
        "checkpoint_seconds": 0.0,
        "batch_size": 800,  # one step an epoch
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({"train": settings}))
    command = ["-m", "mmkgc.components.train", graph.uri, str(tmp_path / "recipe.yaml")]
    where = {"MMKGC_STORAGE": storage.root, "MMKGC_SCRATCH": str(tmp_path / "scratch")}
    first = launched(2, *command, **where)
    try:
        until(lambda: epoch_of(tmp_path) > 3, first)
    finally:
        killed = psutil.Process(first.pid)
        for process in (*killed.children(recursive=True), killed):  # torchrun's workers have sessions of their own
            process.kill()
    first.communicate()
    told = finished(launched(3, *command, **where))
    assert "train resumes after epoch" in told
    uri = next(line for line in told.splitlines() if "/bundles/" in line and line.startswith("/"))
    folder = storage.fetch(uri)
    bundle = Bundle.load(folder)
    assert bundle.model.entities.structural_table().shape == (len(toy_mmkg.graph.entities), 16)  # type: ignore[union-attr]
    undivided = bundle.model.config.model_copy(update={"encoder": {"name": "table"}})
    bundle.model.config = undivided
    bundle.save(tmp_path / "undivided")
    head, relation, _ = toy_mmkg.graph.test[0].tolist()
    query = {"head": f"e{head}", "relation": f"r{relation}", "k": 10}
    answers = [Engine.load(place).answer([query])[0]["predictions"] for place in (folder, tmp_path / "undivided")]
    assert answers[0] == answers[1]
    assert bundle.provenance["epochs"] == 60


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"optimizer": {"name": "adam"}}, "the optimizer is row-adagrad, and not 'adam'"),
        ({"loss": "cross-entropy", "negatives": None}, "a loss compares with negatives, and 'cross-entropy' does not"),
        ({"negatives": {"name": "nscaching"}}, "the negatives are uniform, bernoulli, shared, and not 'nscaching'"),
        ({"ema": 0.9}, "so train.ema cannot work"),
        ({"model": {"encoder": "sharded", "dimension": 7, "interaction": "complex"}}, "must be a multiple of 4"),
        (
            {"model": {"encoder": "sharded", "structure": False, "interaction": "complex", "dimension": 8}},
            "structure: true",
        ),
    ],
)
def test_what_cannot_be_divided_is_said(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        TrainConfig.model_validate(SETTINGS | change)


def test_in_one_process_it_is_the_table() -> None:
    graph, features = sharded_steps.graph(), sharded_steps.features()
    models = []
    for encoder in ("sharded", "table"):
        settings = SETTINGS | {"epochs": 1, "model": SETTINGS["model"] | {"encoder": encoder}}
        models.append(Trainer(graph, features, TrainConfig.model_validate(settings)).fit())
    assert torch.equal(models[0].score_triples(graph.test), models[1].score_triples(graph.test))
    assert len(models[0].entities) == N
