"""Daily growth: a training on a changed graph begins with an earlier model, by step and by key."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.graph import Graph, Vocabulary
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.train.config import TrainConfig
from mmkgc.components.train.optimizers import squares_of
from mmkgc.components.train.start import Start, find
from mmkgc.components.train.train import train
from mmkgc.components.train.trainer import Trainer
from mmkgc.feature_store.storage import Storage, Stored

SETTINGS: dict[str, Any] = {
    "model": {"dimension": 8, "interaction": "complex", "fusion": "structure"},
    "loss": "cross-entropy",
    "optimizer": {"lr": 0.05},
    "epochs": 12,
    "evaluate_every": 4,
}


def published(mmkg: MMKG, storage: Storage, folder: Path) -> Stored:
    mmkg.save(folder)
    return storage.publish(folder, "graphs")


def smaller(mmkg: MMKG, count: int) -> MMKG:
    """The graph without its first ``count`` entities and their triples."""
    graph, keys = mmkg.graph, mmkg.graph.entities.keys
    vocabulary = Vocabulary(keys[count:], graph.entities.names[count:])

    def kept(triples: torch.Tensor) -> torch.Tensor:
        return triples[(triples[:, [0, 2]] >= count).all(1)] - torch.tensor([count, 0, count])

    splits: dict[str, Any] = {name: kept(getattr(graph, name)) for name in ("train", "valid", "test")}
    types = graph.types and graph.types[count:]
    contents = {m: content[count:] for m, content in mmkg.contents.items()}
    return MMKG(Graph(vocabulary, graph.relations, types=types, **splits), contents, mmkg.info)


def config(**changes: Any) -> TrainConfig:
    return TrainConfig.model_validate(SETTINGS | changes)


def test_a_grown_graph_goes_on_from_the_earlier_model(
    toy_mmkg: MMKG, storage: Storage, mmkgc_home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = published(smaller(toy_mmkg, 2), storage, tmp_path / "before")
    first = train(before.uri, {}, config(), storage, tmp_path / "scratch")
    graph = toy_mmkg.graph
    removed, rest = graph.train[:5], graph.train[5:]
    after = published(replace(toy_mmkg, graph=replace(graph, train=rest)), storage, tmp_path / "after")
    capfd.readouterr()
    second = train(after.uri, {}, config(start=first.uri, epochs=1), storage, tmp_path / "scratch")
    bundle = Bundle.load(storage.fetch(second.uri))
    assert "58 entities and 4 relations keep their vectors, new: 2 and 0, gone: 0 and 0" in capfd.readouterr().out
    assert bundle.entities == graph.entities
    assert not bundle.known.contains(removed).any()
    assert bundle.provenance["made_from"]["start"] == first.digest
    found = bundle.provenance["start"]
    assert (found["model"], found["entities"], found["new_entities"]) == (first.uri, 58, 2)
    alone = train(after.uri, {}, config(epochs=1), storage, tmp_path / "scratch")
    scratch = Bundle.load(storage.fetch(alone.uri)).provenance["dev_mrr"]
    assert bundle.provenance["dev_mrr"] > scratch + 0.05


@pytest.mark.parametrize("name", ["adagrad", "row-adagrad"])
def test_adagrad_goes_on_with_short_steps_of_old_rows_and_long_ones_of_new(
    name: str, toy_mmkg: MMKG, storage: Storage, mmkgc_home: Path, tmp_path: Path
) -> None:
    before = published(smaller(toy_mmkg, 2), storage, tmp_path / "before")
    settings = config(optimizer={"name": name, "lr": 0.05}, epochs=3)
    earlier = Bundle.load(storage.fetch(train(before.uri, {}, settings, storage, tmp_path / "scratch").uri))
    assert earlier.squares["entities.structure"].shape == (58,)
    trainer = Trainer(toy_mmkg.graph, {}, settings, start=earlier)
    begun = {name: each.clone() for name, each in squares_of(trainer.optimizer, trainer.model).items()}
    place = Start("here", "", earlier, toy_mmkg.graph, toy_mmkg.graph.train[:0])
    assert place.told(trainer).endswith("; Adagrad goes on")
    assert not begun["entities.structure"][:2].any()
    torch.testing.assert_close(begun["entities.structure"][2:], earlier.squares["entities.structure"])
    torch.testing.assert_close(begun["relations.relation"], earlier.squares["relations.relation"])
    trainer.fit()
    assert (squares_of(trainer.optimizer, trainer.model)["relations.relation"] > begun["relations.relation"]).all()
    adam = Trainer(toy_mmkg.graph, {}, config(), start=earlier)
    assert not squares_of(adam.optimizer, adam.model)
    assert place.told(adam).endswith("; the optimizer begins anew")


def test_a_training_that_only_makes_it_worse_keeps_what_it_began_with(
    toy_mmkg: MMKG, storage: Storage, graph: Stored, mmkgc_home: Path, tmp_path: Path
) -> None:
    first = train(graph.uri, {}, config(epochs=40), storage, tmp_path / "scratch")
    ruinous = config(start=first.uri, optimizer={"lr": 30.0}, epochs=1)
    second = train(graph.uri, {}, ruinous, storage, tmp_path / "scratch")
    models = [Bundle.load(storage.fetch(stored.uri)) for stored in (first, second)]
    assert models[1].provenance["best_epoch"] == 0
    test = toy_mmkg.graph.test
    assert torch.equal(models[0].model.score_triples(test), models[1].model.score_triples(test))


def test_development_triples_that_it_was_trained_on_choose_no_epoch(
    toy_mmkg: MMKG, storage: Storage, mmkgc_home: Path, tmp_path: Path
) -> None:
    """As where the development split is drawn from train, anew for each graph."""
    first = train(published(toy_mmkg, storage, tmp_path / "one").uri, {}, config(), storage, tmp_path / "scratch")
    graph = toy_mmkg.graph
    moved = replace(graph, train=torch.cat([graph.train[20:], graph.valid[:10]]), valid=torch.cat(
        [graph.valid[10:], graph.train[:20]]
    ))  # fmt: skip
    start = Start.of(config(start=first.uri), moved, {}, storage)
    assert torch.equal(start.selecting.valid, graph.valid[10:])
    assert torch.equal(start.taken, graph.train[:20])
    assert set(map(tuple, start.selecting.selection_triples.tolist())) == set(
        map(tuple, moved.selection_triples.tolist())
    )
    after = published(replace(toy_mmkg, graph=moved), storage, tmp_path / "two")
    second = train(after.uri, {}, config(start=first.uri, epochs=1), storage, tmp_path / "scratch")
    bundle = Bundle.load(storage.fetch(second.uri))
    assert len(bundle.train) == len(moved.train) + 20  # the gate asks nothing that the model was fitted on
    assert bundle.provenance["start"]["development_left_out"] == 20


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"model": {"dimension": 9}}, "train.model.dimension = 8, and this recipe 9"),
        (
            {"model": {"interaction": "distmult"}},
            r"interaction = complex \(init .*, and this recipe distmult",
        ),
    ],
)
def test_another_kind_of_model_is_refused(
    change: dict[str, Any], sentence: str, storage: Storage, graph: Stored, mmkgc_home: Path, tmp_path: Path
) -> None:
    first = train(graph.uri, {}, config(epochs=1), storage, tmp_path / "scratch")
    other = config(start=first.uri, model=SETTINGS["model"] | change["model"])
    with pytest.raises(UserError, match=sentence):
        train(graph.uri, {}, other, storage, tmp_path / "scratch")


def test_what_was_trained_on_test_is_refused(
    toy_mmkg: MMKG, storage: Storage, mmkgc_home: Path, tmp_path: Path
) -> None:
    graph = toy_mmkg.graph
    first = train(
        published(toy_mmkg, storage, tmp_path / "one").uri, {}, config(epochs=1), storage, tmp_path / "scratch"
    )
    swapped = replace(graph, train=graph.train[3:], test=torch.cat([graph.test, graph.train[:3]]))
    after = published(replace(toy_mmkg, graph=swapped), storage, tmp_path / "two")
    with pytest.raises(UserError, match="it was trained on 3 of the 63 test triples of this graph"):
        train(after.uri, {}, config(start=first.uri), storage, tmp_path / "scratch")


def test_features_of_another_encoder_are_refused(
    toy_bundle: Bundle, toy_mmkg: MMKG, storage: Storage, tmp_path: Path
) -> None:
    toy_bundle.save(tmp_path / "bundle")
    asked = TrainConfig(model=toy_bundle.config["model"], start=str(tmp_path / "bundle"), loss="cross-entropy")
    encoders = {"textual": {"encoder": "sbert", "weights": "all-MiniLM-L6-v2"}}
    with pytest.raises(UserError, match=r"are of the encoder toy \(random\), and these are of sbert \(all-MiniLM"):
        Start.of(asked, toy_mmkg.graph, encoders, storage)


def test_a_place_without_a_model_is_said(storage: Storage, tmp_path: Path, mmkgc_home: Path) -> None:
    with pytest.raises(UserError, match="there is no model bundle"):
        find(str(tmp_path), storage)
    with pytest.raises(UserError, match="write models:/NAME@ALIAS or models:/NAME/VERSION"):
        find("models:/countries", storage)
    with pytest.raises(UserError, match="no version has the alias 'champion'"):
        find("models:/nothing@champion", storage)


def test_refit_does_not_go_with_start() -> None:
    with pytest.raises(ValueError, match="refit trains from new initial values"):
        config(start="models:/countries@champion", refit=True)
