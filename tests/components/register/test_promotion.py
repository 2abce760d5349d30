import multiprocessing
from dataclasses import replace

import pytest
import torch
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

from mmkgc.components.kge.graph import HEAD, RELATION, Vocabulary
from mmkgc.components.register import promote as promotion
from mmkgc.components.register.config import RegisterConfig
from mmkgc.components.register.feedback import sentences
from mmkgc.components.register.promote import promote, rollback
from mmkgc.components.runtime import model_registry as registry
from mmkgc.components.runtime import tracking
from mmkgc.components.runtime.errors import UserError
from mmkgc.feature_store.opening import open_storage

WEAK, MIDDLING = 2, 8
"""Epochs of models that beat relation popularity, but not the one of the fixture."""


def champion() -> str | None:
    version = registry.version_at("toy", "champion")
    return version and version.version


def test_a_model_that_has_learned_nothing_is_no_first_champion(submit, toy_mmkg, train_toy):
    bundle = train_toy(toy_mmkg, epochs=1)
    with torch.no_grad():
        for parameter in bundle.model.parameters():
            parameter.zero_()
    record = submit(toy_mmkg, bundle)
    assert not record["promoted"]
    assert "no sure gain over relation popularity" in record["reason"]
    assert champion() is None
    assert registry.version("toy", 1).tags["gate"] == "refused"


def test_a_worse_challenger_is_refused(submit, toy_mmkg, train_toy, toy_bundle):
    submit(toy_mmkg, toy_bundle)
    record = submit(toy_mmkg, train_toy(toy_mmkg, epochs=WEAK))
    assert not record["promoted"]
    assert "no sure gain over version 1" in record["reason"]
    assert champion() == "1"


def test_an_equal_challenger_is_refused(submit, toy_mmkg, toy_bundle):
    submit(toy_mmkg, toy_bundle)
    record = submit(toy_mmkg, replace(toy_bundle, provenance={"note": "the same weights again"}))
    assert (record["version"], record["gain"], record["promoted"]) == ("2", 0.0, False)
    assert champion() == "1"


def test_the_same_bundle_keeps_its_version(submit, toy_mmkg, toy_bundle):
    submit(toy_mmkg, toy_bundle)
    record = submit(toy_mmkg, toy_bundle)
    assert (record["version"], record["promoted"]) == ("1", True)


def test_a_better_challenger_takes_the_alias_and_can_give_it_back(submit, toy_mmkg, train_toy, toy_bundle):
    submit(toy_mmkg, train_toy(toy_mmkg, epochs=WEAK))
    record = submit(toy_mmkg, toy_bundle)
    assert record["promoted"], record["reason"]
    assert champion() == "2"
    assert registry.version_at("toy", "previous_champion").version == "1"
    assert registry.version("toy", 2).tags["gate_champion"] == "1"
    assert rollback("toy") == ("1", "2")
    assert champion() == "1"
    assert rollback("toy") == ("2", "1")


def test_a_champion_that_changes_meanwhile_is_the_one_to_beat(submit, toy_mmkg, train_toy, toy_bundle, monkeypatch):
    submit(toy_mmkg, train_toy(toy_mmkg, epochs=WEAK))
    submit(toy_mmkg, toy_bundle)
    rollback("toy")
    middling = submit(toy_mmkg, train_toy(toy_mmkg, epochs=MIDDLING), min_gain=1.0)
    decide, judged = promotion.decide, []

    def slow_decide(*arguments):
        judged.append(decide(*arguments))
        if len(judged) == 1:  # while the gate was busy, somebody brought the good model back
            rollback("toy")
        return judged[-1]

    monkeypatch.setattr(promotion, "decide", slow_decide)
    decision = promote("toy", middling["version"], RegisterConfig(model="toy"), open_storage())
    assert [record.champion for record in judged] == ["version 1", "version 2"]
    assert judged[0].promoted
    assert not decision.promoted
    assert champion() == "2"


@pytest.fixture
def newer(toy_mmkg):
    """The toy graph a year later: some test triples are now known, and the development split is another one."""
    graph = toy_mmkg.graph
    train = torch.cat([graph.train[60:], graph.valid, graph.test[:30]])
    return replace(
        toy_mmkg,
        graph=replace(graph, train=train, valid=torch.cat([graph.train[:60], graph.test[30:]]), test=graph.test[30:]),
    )


def test_a_challenger_trained_on_newer_data_is_asked_what_neither_has_seen(submit, toy_mmkg, train_toy, newer):
    submit(toy_mmkg, train_toy(toy_mmkg, epochs=WEAK))
    record = submit(newer, train_toy(newer))
    assert record["trained_on"] == 60
    assert record["queries"] == 2 * 30
    assert record["promoted"], record["reason"]


def with_new_entities(mmkg, count):
    """The graph with further entities, whose triples are all in train and dev."""
    graph = mmkg.graph
    old = len(graph.entities)
    words = Vocabulary(
        (*graph.entities.keys, *(f"new{i}" for i in range(count))),
        (*graph.entities.names, *(f"new {i}" for i in range(count))),
    )
    links = torch.tensor([[old + i, 0, (i * 7) % old] for i in range(count)])
    return replace(
        mmkg,
        graph=replace(
            graph,
            entities=words,
            train=torch.cat([graph.train, links]),
            valid=torch.cat([graph.valid, torch.tensor([[old, 1, 3]])]),
            types=None,
        ),
        contents={"textual": (*mmkg.content("textual"), *[None] * count)},
    )


def test_a_champion_that_does_not_know_new_entities_is_compared_only_if_told_so(submit, toy_mmkg, train_toy):
    submit(toy_mmkg, train_toy(toy_mmkg, epochs=1, fusion="structure"))
    grown = with_new_entities(toy_mmkg, 2)
    bundle = train_toy(grown, epochs=20, fusion="structure")
    record = submit(grown, bundle)
    assert not record["promoted"]
    assert record["reason"] == "version 1 does not know new 0, which 1 of 61 gate triples are about"
    config = RegisterConfig(model="toy", gate={"max_uncovered": 0.05})
    decision = promote("toy", record["version"], config, open_storage())
    assert decision.promoted, decision.reason
    assert decision.left_out == 1


@pytest.mark.parametrize(
    ("gate", "objection"),
    [
        ({"max_latency_ms": 1e-6}, "a query takes"),
        ({"max_size_mb": 1e-6}, "the bundle has"),
        ({"min_gain": 0.9}, "the gain at least 0.9"),
    ],
)
def test_budgets_are_kept(submit, toy_mmkg, toy_bundle, gate, objection):
    record = submit(toy_mmkg, toy_bundle, **gate)
    assert not record["promoted"]
    assert objection in record["reason"]


def test_a_gain_at_the_cost_of_one_relation_is_refused(submit, toy_mmkg, train_toy, toy_bundle):
    submit(toy_mmkg, train_toy(toy_mmkg, epochs=WEAK))
    spoiled = replace(toy_bundle, model=train_toy(toy_mmkg).model)
    with torch.no_grad():
        spoiled.model.relations["relation"][2] = 0
    record = submit(toy_mmkg, spoiled, min_slice_queries=10, max_slice_loss=0.02)
    assert record["gain"] > 0
    assert not record["promoted"]
    assert "relation 'relation 2' loses" in record["reason"]


def test_unknown_versions_and_aliases_are_explained(submit, toy_mmkg, toy_bundle):
    submit(toy_mmkg, toy_bundle)
    with pytest.raises(UserError, match="toy version 7: not in the registry — there are: 1"):
        promote("toy", "7", RegisterConfig(), open_storage())
    with pytest.raises(UserError, match="no earlier champion to go back to"):
        rollback("toy")
    with pytest.raises(UserError, match="registered models: toy"):
        registry.champion_bundle("tou")
    with pytest.raises(UserError, match=r"`mmkgc promote toy VERSION` gives it to a version that passes the gate"):
        registry.version_of("models:/toy@stable")


def _promote(number, started, outcome):
    started.wait()
    decision = promote("toy", number, RegisterConfig(model="toy"), open_storage())
    outcome.put((number, decision.promoted, decision.champion))


@pytest.mark.slow
def test_of_two_promotions_at_once_one_wins_and_none_is_lost(submit, toy_mmkg, train_toy, toy_bundle):
    submit(toy_mmkg, train_toy(toy_mmkg, epochs=WEAK))
    rivals = [toy_bundle, replace(toy_bundle, provenance={"note": "an equal twin"})]
    numbers = [submit(toy_mmkg, bundle, min_gain=1.0)["version"] for bundle in rivals]
    context = multiprocessing.get_context("spawn")
    started, outcome = context.Barrier(2), context.Queue()
    workers = [context.Process(target=_promote, args=(number, started, outcome)) for number in numbers]
    for worker in workers:
        worker.start()
    results = {number: (promoted, rival) for number, promoted, rival in (outcome.get(timeout=120) for _ in workers)}
    for worker in workers:
        worker.join()
    (winner,) = [number for number, (promoted, _) in results.items() if promoted]
    (loser,) = set(numbers) - {winner}
    assert champion() == winner
    assert results[loser] == (False, f"version {winner}")
    assert registry.version("toy", winner).tags["gate"] == "promoted"
    assert registry.version("toy", loser).tags["gate"] == "refused"
    assert registry.version_at("toy", "previous_champion").version == "1"


def test_a_lock_let_go_while_it_is_asked_for_is_asked_for_again(submit, toy_mmkg, toy_bundle, monkeypatch):
    """MLflow finds the lock's name taken, reads the lock to say so, and by then its owner has deleted it."""
    submit(toy_mmkg, toy_bundle)
    api, lock = tracking.client(), "toy" + registry.LOCK_SUFFIX
    api.create_registered_model(lock)
    read = SqlAlchemyStore.get_registered_model

    def let_go_then_read(store, name):
        if name == lock:
            monkeypatch.setattr(SqlAlchemyStore, "get_registered_model", read)
            store.delete_registered_model(name)
        return read(store, name)

    monkeypatch.setattr(SqlAlchemyStore, "get_registered_model", let_go_then_read)
    assert registry.move_alias("toy", "champion", "1", expected="1", tags={"note": "moved"})
    assert registry.version("toy", "1").tags["note"] == "moved"


def test_the_record_says_what_decisions_changed(submit, toy_mmkg, train_toy):
    graph = toy_mmkg.graph
    submit(toy_mmkg, train_toy(replace(toy_mmkg, graph=replace(graph, train=graph.train[:-40])), epochs=MIDDLING))
    heads, relations = graph.train[:30, HEAD], graph.train[:30, RELATION]
    before = train_toy(toy_mmkg)
    scores = before.model.score_tails(heads, relations)
    scores[before.known.tails(heads, relations)] = -torch.inf
    false = torch.stack([heads, relations, scores.argmax(dim=1)], dim=1).unique(dim=0)
    told = replace(toy_mmkg, graph=replace(graph, false=false))
    record = submit(told, train_toy(told))["feedback"]
    assert (record["new"]["facts"], record["false"]["facts"]) == (40, len(false))
    assert record["new"]["after"] > record["new"]["before"]
    assert record["false"]["after"] < len(false)
    new, refuted = sentences(record)
    assert new.startswith("40 train facts are new to it: ")
    assert refuted.endswith(f"best answers of version 1, {record['false']['after']} of this one")


def test_without_new_facts_there_is_no_feedback(submit, toy_mmkg, train_toy, toy_bundle):
    assert submit(toy_mmkg, train_toy(toy_mmkg, epochs=WEAK))["feedback"] is None
    assert submit(toy_mmkg, toy_bundle)["feedback"] is None
