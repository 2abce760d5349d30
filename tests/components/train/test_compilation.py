"""torch.compile: the same losses, and training that goes on where compiling is not possible or fails."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.kge.batch_loss import BatchLosses
from mmkgc.components.kge.features import Features
from mmkgc.components.train import compilation
from mmkgc.components.train.compilation import Compiled, lacking
from mmkgc.components.train.config import TrainConfig
from mmkgc.components.train.trainer import Trainer

CPU, GPU = torch.device("cpu"), torch.device("cuda")
OPTIMIZER = {"lr": 0.02, "schedule": "cosine", "warmup": 0.1, "clip": 5.0}


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"model": {"dimension": 8, "interaction": "distmult", "fusion": "structure"}, "loss": "cross-entropy"},
        {
            "model": {"dimension": 8, "interaction": "transe", "fusion": "structure"},
            "negatives": {"name": "uniform", "count": 4},
            "batch_size": 10_000,
        },
        {
            "model": {"dimension": 8, "interaction": "distmult", "fusion": "adamf", "modalities": ["textual"]},
            "negatives": {"name": "mat", "count": 4, "fakes": ["head"]},
            "batch_size": 10_000,
        },
    ],
    ids=["all entities", "uniform", "mat"],
)
def test_a_compiled_step_loses_as_much_and_without_a_compiler_training_says_so(
    settings: dict[str, Any], toy_mmkg: MMKG, toy_features: dict[str, Features], capsys: pytest.CaptureFixture[str]
) -> None:
    features = toy_features if "modalities" in settings["model"] else {}
    losses: dict[str, list[float]] = {"never": [], "always": []}
    for wanted, seen in losses.items():
        config = TrainConfig(**({"batch_size": 200} | settings), epochs=2, optimizer=OPTIMIZER, compile=wanted)
        Trainer(toy_mmkg.graph, features, config).fit(lambda _, metrics, seen=seen: seen.append(metrics["loss"]))
    assert losses["always"] == pytest.approx(losses["never"], rel=1e-4)
    assert ("no C++ compiler" in capsys.readouterr().out) == bool(lacking(CPU))


@pytest.mark.slow
def test_a_compiler_that_fails_does_not_end_the_run(tmp_path: Path) -> None:
    broken = tmp_path / "g++"
    broken.write_text("#!/bin/sh\necho no space left >&2\nexit 1\n")
    broken.chmod(0o755)
    script = textwrap.dedent("""
        import torch
        from mmkgc.components.kge.graph import Graph, Vocabulary
        from mmkgc.components.train.config import TrainConfig
        from mmkgc.components.train.trainer import Trainer

        names = tuple(map(str, range(40)))
        triples = torch.tensor([[e, r, (e + 3 * r + 1) % 40] for e in range(40) for r in range(4)])
        vocabularies = Vocabulary(names, names), Vocabulary(names[:4], names[:4])
        graph = Graph(*vocabularies, triples, triples[:0], triples[:0])
        model = {"dimension": 8, "interaction": "distmult", "fusion": "structure"}
        for wanted in ("never", "always"):
            config = TrainConfig(model=model, loss="cross-entropy", epochs=2, batch_size=80, compile=wanted)
            Trainer(graph, {}, config).fit(lambda epoch, metrics: print(f"loss {metrics['loss']:.6f}"))
    """)
    environment = os.environ | {"CXX": str(broken), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    losses = [line for line in done.stdout.splitlines() if line.startswith("loss")]
    assert losses[:2] == losses[2:]
    assert done.stdout.count("train goes on without torch.compile: compiling failed (") == 1


def test_a_gradient_that_cannot_be_compiled_is_found_out_with_the_first_batch(
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = torch.nn.Linear(2, 1)

    def losses(model: torch.nn.Module) -> BatchLosses:
        return BatchLosses({"loss": model(torch.ones(1, 2)).sum()}, [])

    guarded = Compiled(losses)
    guarded.fast = lambda model: BatchLosses({"loss": _Uncompilable.apply(losses(model).losses["loss"])}, [])
    for _ in range(2):
        guarded(model).losses["loss"].backward()
    assert torch.equal(model.bias.grad, torch.tensor([2.0]))
    assert capsys.readouterr().out == "train goes on without torch.compile: compiling failed (out of registers)\n"


class _Uncompilable(torch.autograd.Function):
    """Stands for code whose gradient the compiler cannot make."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor) -> Tensor:
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        raise TorchDynamoException("out of registers")


def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image without compilers, such as the project's own, must train on a GPU too: Triton needs one there."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("CXX", raising=False)
    assert "no C++ compiler" in str(lacking(CPU))
    monkeypatch.setattr(compilation, "_has_triton", lambda: False)
    assert "Triton" in str(lacking(GPU))
    monkeypatch.setattr(compilation, "_has_triton", lambda: True)
    assert "no C compiler" in str(lacking(GPU))
    monkeypatch.setenv("CC", sys.executable)
    assert lacking(GPU) is None
