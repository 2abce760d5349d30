"""The training loop: it resumes to the same bits, returns the best model, and stops on NaN with the batch's name."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.evaluation.ranks import mrr, rank
from mmkgc.components.kge.features import Features
from mmkgc.components.kge.graph import HEAD, RELATION, KnownTriples
from mmkgc.components.kge.model import Model
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.train import precision
from mmkgc.components.train.config import OptimizerConfig, TrainConfig
from mmkgc.components.train.optimizers import make_optimizer, make_schedule
from mmkgc.components.train.refit import with_development
from mmkgc.components.train.trainer import Trainer
from mmkgc.serving.engine.engine import Engine

Toy = dict[str, Features]
SETTINGS: dict[str, Any] = {
    "model": {"dimension": 8, "interaction": "rotate", "fusion": "adamf", "structure_dropout": 0.2},
    "optimizer": {"lr": 0.02, "schedule": "cosine", "warmup": 0.1, "clip": 5.0},
    "batch_size": 200,
    "epochs": 6,
    "evaluate_every": 2,
}
RESUMED: list[dict[str, Any]] = [
    {"negatives": {"name": "mat", "count": 4}, "ema": 0.9},
    {"negatives": {"name": "dhns", "count": 4}},
    {"loss": "cross-entropy", "optimizer": {"name": "adagrad", "lr": 0.1}},
]


class Killed(Exception):
    """Stands for the end of a process."""


def state(model: Model) -> list[torch.Tensor]:
    return list(model.state_dict().values())


@pytest.mark.parametrize("settings", RESUMED, ids=["mat", "dhns", "cross-entropy"])
def test_a_run_that_was_cut_off_ends_with_the_same_bits(
    settings: dict[str, Any], toy_mmkg: MMKG, toy_features: Toy, tmp_path: Path
) -> None:
    config = TrainConfig(**(SETTINGS | settings))
    whole: list[dict[str, float]] = []
    expected = Trainer(toy_mmkg.graph, toy_features, config).fit(lambda epoch, metrics: whole.append(metrics))

    path, seen = tmp_path / "checkpoint.pt", []

    def dies_in_epoch(last: int) -> Callable[[int, dict[str, float]], None]:
        def on_epoch(epoch: int, metrics: dict[str, float]) -> None:
            if epoch == last:
                raise Killed
            seen.append(metrics)

        return on_epoch

    for last in (3, 5):
        with pytest.raises(Killed):
            Trainer(toy_mmkg.graph, toy_features, config, path, 0.0).fit(dies_in_epoch(last))
    actual = Trainer(toy_mmkg.graph, toy_features, config, path, 0.0).fit(dies_in_epoch(99))

    assert all(torch.equal(ours, theirs) for ours, theirs in zip(state(actual), state(expected), strict=True))
    assert [metrics["loss"] for metrics in seen] == [metrics["loss"] for metrics in whole]


@pytest.mark.slow
def test_kill_minus_nine_between_checkpoints_changes_nothing(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent("""
        import sys
        from pathlib import Path
        import torch
        from mmkgc.components.kge.graph import Graph, Vocabulary
        from mmkgc.components.train.config import TrainConfig
        from mmkgc.components.train.trainer import Trainer

        names = tuple(map(str, range(40)))
        triples = torch.tensor([[e, r, (e + 3 * r + 1) % 40] for e in range(40) for r in range(4)])
        entities, relations = Vocabulary(names, names), Vocabulary(names[:4], names[:4])
        graph = Graph(entities, relations, triples[:140], triples[140:], triples[:0])
        config = TrainConfig(model={"dimension": 8, "fusion": "structure"}, epochs=40, batch_size=50, evaluate_every=40)
        trainer = Trainer(graph, {}, config, Path(sys.argv[1]), 0.0)
        model = trainer.fit(lambda epoch, metrics: print("epoch", epoch, flush=True))
        torch.save(model.state_dict(), sys.argv[2])
        """)
    )

    def start(name: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(script), str(tmp_path / f"{name}.checkpoint"), str(tmp_path / f"{name}.pt")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

    assert start("whole").wait() == 0
    process = start("killed")
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch 7"):
            process.send_signal(signal.SIGKILL)
            break
    assert process.wait() == -signal.SIGKILL
    output, _ = start("killed").communicate()
    assert "train resumes after epoch" in output
    assert "epoch 3\n" not in output
    whole, resumed = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("whole", "killed"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_the_best_model_is_returned_not_the_last(toy_mmkg: MMKG, toy_features: Toy) -> None:
    config = TrainConfig(**(SETTINGS | {"optimizer": {"lr": 0.3}, "epochs": 30, "evaluate_every": 1, "patience": 4}))
    measured: list[float] = []
    trainer = Trainer(toy_mmkg.graph, toy_features, config)
    model = trainer.fit(lambda epoch, metrics: measured.append(metrics["dev_mrr"]))
    graph = toy_mmkg.graph
    known = KnownTriples(graph.selection_triples, len(graph.entities), len(graph.relations))
    assert mrr(rank(model, graph.valid, known)) == max(measured)
    assert trainer.selection.best_epoch == measured.index(max(measured)) + 1
    assert len(measured) < 30
    assert len(measured) == trainer.selection.best_epoch + 4


def test_the_last_model_is_returned_where_nothing_is_to_be_selected(toy_mmkg: MMKG, toy_features: Toy) -> None:
    settings = SETTINGS | {"optimizer": {"lr": 0.3}, "epochs": 12, "evaluate_every": 1, "patience": 2, "keep": "last"}
    graph, fell = toy_mmkg.graph, []
    known = KnownTriples(graph.selection_triples, len(graph.entities), len(graph.relations))
    for seed in range(3):  # with one seed, the last epoch may be the best one on some processor
        measured: list[float] = []
        trainer = Trainer(graph, toy_features, TrainConfig(**settings, seed=seed))
        model = trainer.fit(lambda epoch, metrics, to=measured: to.append(metrics["dev_mrr"]))
        assert mrr(rank(model, graph.valid, known)) == measured[-1]
        assert len(measured) == 12
        fell.append(measured[-1] < max(measured))
    assert any(fell)


def test_nan_stops_the_run_and_names_the_batch(toy_mmkg: MMKG, toy_features: Toy) -> None:
    broken = toy_features["textual"].vectors.clone()
    broken[1] = float("nan")
    features = {"textual": Features(broken, toy_features["textual"].mask)}
    with pytest.raises(UserError, match=r"epoch 1, batch 1 of \d+ \(its first triple: entity .*negatives loss is nan"):
        Trainer(toy_mmkg.graph, features, TrainConfig(**SETTINGS)).fit()


@pytest.mark.parametrize("interaction", ["transe", "pairre"])
@pytest.mark.parametrize("sampler", ["uniform", "mat"])
def test_threads_do_not_change_the_bits(
    interaction: str, sampler: str, toy_mmkg: MMKG, toy_features: Toy, two_threads: None
) -> None:
    """The gradient of an index does: its threads add to one row in the order in which they come."""
    model = SETTINGS["model"] | {"interaction": interaction, "dimension": 32}
    config = TrainConfig(**(SETTINGS | {"model": model, "negatives": {"name": sampler, "count": 64}, "epochs": 2}))
    first, again = (Trainer(toy_mmkg.graph, toy_features, config).fit() for _ in range(2))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(state(first), state(again), strict=True))


def test_the_same_seed_gives_the_same_model_and_another_seed_another(toy_mmkg: MMKG, toy_features: Toy) -> None:
    models = [Trainer(toy_mmkg.graph, toy_features, TrainConfig(**SETTINGS, seed=seed)).fit() for seed in (0, 0, 1)]
    first, again, other = (model.entities.structure for model in models)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    "settings",
    [
        {"precision": "bfloat16"},
        {"precision": "bfloat16", "negatives": "mat"},
        {"subsampling": True},
        {"ema": 0.5},
        {"regularizer": "n3"},
        {"regularizer": "l3"},
    ],
    ids=str,
)
def test_options_train(
    settings: dict[str, Any], toy_mmkg: MMKG, toy_features: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: True)  # emulated where it is not
    losses: list[float] = []
    config = TrainConfig(**(SETTINGS | settings))
    Trainer(toy_mmkg.graph, toy_features, config).fit(lambda epoch, metrics: losses.append(metrics["loss"]))
    assert losses[-1] < losses[0]


def test_averaged_weights_are_what_is_kept(toy_mmkg: MMKG) -> None:
    """With decay ½ and two steps: θ̄ = ¼ θ₀ + ¼ θ₁ + ½ θ₂."""
    settings = {"model": {"dimension": 8, "fusion": "structure"}, "batch_size": 10_000, "epochs": 2, "ema": 0.5}
    trainer = Trainer(toy_mmkg.graph, {}, TrainConfig(**settings))
    seen = [trainer.model.entities.structure.detach().clone()]
    model = trainer.fit(lambda epoch, metrics: seen.append(trainer.model.entities.structure.detach().clone()))
    torch.testing.assert_close(model.entities.structure.detach(), seen[0] / 4 + seen[1] / 4 + seen[2] / 2)


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path: Path) -> None:
    """Against all entities nothing is drawn, so two processes must do what one does, up to rounding."""
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent("""
        import sys
        import torch
        from mmkgc.components.kge.graph import Graph, Vocabulary
        from mmkgc.components.train.config import TrainConfig
        from mmkgc.components.train.trainer import Trainer

        names = tuple(map(str, range(40)))
        triples = torch.tensor([[e, r, (e + 3 * r + 1) % 40] for e in range(40) for r in range(4)])
        entities, relations = Vocabulary(names, names), Vocabulary(names[:4], names[:4])
        graph = Graph(entities, relations, triples[:141], triples[141:], triples[:0])
        model = {"dimension": 8, "interaction": "complex", "fusion": "structure"}
        config = TrainConfig(
            model=model, loss="cross-entropy", epochs=5, batch_size=20, optimizer={"name": "sgd", "lr": 1.0}
        )
        trainer = Trainer(graph, {}, config)
        trained = trainer.fit()
        torch.save(trained.state_dict(), sys.argv[1] + str(trainer.group.rank))
        """)
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, str(script), str(tmp_path / "one")], check=True, env=environment)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run([*launcher, str(script), str(tmp_path / "two")], check=True, env=environment, timeout=200)
    one, first, second = (torch.load(tmp_path / name, weights_only=True) for name in ("one0", "two0", "two1"))
    for name in one:
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], one[name], atol=1e-5, rtol=1e-4)


def test_a_model_of_mans_ts_first_stage_is_not_selected(toy_mmkg: MMKG, toy_features: Toy) -> None:
    """There the development MRR may be high by chance, and patience must not end a run before its second stage."""
    model = {"dimension": 8, "interaction": "transe", "fusion": {"name": "ikrl", "modality": "textual"}}
    negatives = {"name": "mans-t", "count": 2, "beta": 0.5}
    settings = {"epochs": 8, "evaluate_every": 1, "patience": 1, "optimizer": {"lr": 1e-9}, "loss": "margin"}
    trainer = Trainer(toy_mmkg.graph, toy_features, TrainConfig(model=model, negatives=negatives, **settings))
    measured: list[dict[str, float]] = []
    trainer.fit(lambda epoch, metrics: measured.append(metrics))
    assert all("dev_mrr" in metrics for metrics in measured)
    assert trainer.selection.best_epoch == 5
    assert len(measured) == 6


def test_the_schedule_step_falls_to_a_tenth_in_the_second_half() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    config = OptimizerConfig(name="sgd", lr=1.0, schedule="step")
    optimizer = make_optimizer(config, [parameter])
    schedule, rates = make_schedule(config, optimizer, 4), []
    for _ in range(4):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([1.0, 1.0, 0.1, 0.1])


def test_confidence_weighs_a_triple_in_the_loss(toy_mmkg: MMKG, toy_features: Toy) -> None:
    config = TrainConfig(**(SETTINGS | {"loss": "cross-entropy"}))
    unsure = torch.arange(len(toy_mmkg.graph.train)) % 3 == 0
    confidence = torch.where(unsure, 0.25, 1.0)
    graph = replace(toy_mmkg.graph, confidence=confidence)
    trainer = Trainer(graph, toy_features, config)
    assert torch.equal(trainer.weights, confidence)
    model = trainer.fit()
    certain = Trainer(toy_mmkg.graph, toy_features, config).fit()
    fall = certain.score_triples(graph.train) - model.score_triples(graph.train)
    assert fall[unsure].mean() > fall[~unsure].mean()
    refitted = with_development(graph)
    assert refitted.confidence is not None
    assert len(refitted.confidence) == len(refitted.train)


def test_facts_known_to_be_false_are_learned_kept_in_the_bundle_and_never_answered(
    toy_mmkg: MMKG, toy_features: Toy, tmp_path: Path
) -> None:
    config = TrainConfig(**(SETTINGS | {"epochs": 10}))
    plain = Trainer(toy_mmkg.graph, toy_features, config).fit()
    heads, relations = toy_mmkg.graph.train[:40, HEAD], toy_mmkg.graph.train[:40, RELATION]
    scores = plain.score_tails(heads, relations)
    sizes = len(toy_mmkg.graph.entities), len(toy_mmkg.graph.relations)
    scores[KnownTriples(toy_mmkg.graph.all_triples, *sizes).tails(heads, relations)] = -torch.inf
    false = torch.stack([heads, relations, scores.argmax(dim=1)], dim=1).unique(dim=0)

    graph = replace(toy_mmkg.graph, false=false)
    trainer = Trainer(graph, toy_features, config)
    metrics: list[dict[str, float]] = []
    model = trainer.fit(lambda epoch, found: metrics.append(found))
    assert metrics[-1]["loss_known_false"] < metrics[0]["loss_known_false"]
    train = graph.train[:40]
    before, after = ((m.score_triples(false).mean() - m.score_triples(train).mean()).item() for m in (plain, model))
    assert after < before

    Bundle.of(model, graph).save(tmp_path / "bundle")
    engine = Engine.load(tmp_path / "bundle")
    assert torch.equal(engine.bundle.false, false)
    keys = graph.entities.keys
    for head, relation, tail in false.tolist():
        asked = {"head": keys[head], "relation": graph.relations.keys[relation], "k": 20}
        (found,) = engine.answer([asked])
        assert keys[tail] not in [one["key"] for one in found["predictions"]]
        (listed,) = engine.answer([asked | {"candidates": [keys[tail]]}])
        assert [one["key"] for one in listed["predictions"]] == [keys[tail]]


@pytest.mark.parametrize(
    ("interaction", "margin", "told"), [("complex", 12, True), ("complex", 0, False), ("rotate", 12, False)]
)
def test_a_margin_is_doubted_where_scores_are_products(
    interaction: str, margin: float, told: bool, toy_mmkg: MMKG, caplog: pytest.LogCaptureFixture
) -> None:
    model = {"dimension": 8, "interaction": interaction, "fusion": "structure"}
    config = TrainConfig(model=model, loss={"name": "self-adversarial", "margin": margin})  # type: ignore[arg-type]
    Trainer(toy_mmkg.graph, {}, config)
    sentence = "train.loss.margin is 12, which suits distances; scores of complex are products: 0 is usual"
    assert (sentence in caplog.text) == (config.caution() == sentence) == told
