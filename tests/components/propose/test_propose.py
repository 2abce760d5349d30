"""Proposals against exhaustive scoring, their honesty, and a kill in between."""

import multiprocessing
import os
import signal
import time
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
import torch

from mmkgc.components.propose import propose as step
from mmkgc.components.propose.config import ProposeConfig
from mmkgc.components.propose.propose import complete_graph, propose
from mmkgc.components.propose.questions import Questions
from mmkgc.components.runtime import digests
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.files import read_json, write_json
from mmkgc.feature_store.opening import open_storage
from mmkgc.serving.api.protocol import ModelName
from mmkgc.serving.engine.engine import Engine
from mmkgc.serving.review.identity import identify
from mmkgc.serving.review.proposals import FILE, SUMMARY


def read(folder):
    return pq.read_table(folder / FILE).to_pylist()


def keys(row):
    return row["head"], row["relation"], row["tail"]


def exhaustive(bundle, config, rejected=frozenset()):
    """Every pair that is worth asking, one by one; the best of each relation within its budget."""
    questions = Questions(bundle.train, bundle.types, len(bundle.entities), len(bundle.relations), config)
    entities, relations = bundle.entities.keys, bundle.relations.keys
    train = {tuple(triple) for triple in bundle.train.tolist()}
    known, looped = set(bundle.known), {r for h, r, t in train if h == t}
    expected = {}
    for relation in range(len(relations)):
        pairs = questions.pairs(relation)
        full = {side: set(ids.tolist()) for side, ids in questions.full(relation, bundle.known)}
        candidates = [
            (head, relation, tail)
            for head in sorted(set(pairs.heads.tolist()) - full.get("head", set()))
            for tail in sorted(set(pairs.tails.tolist()) - full.get("tail", set()))
            if (head, relation, tail) not in known
            and (entities[head], relations[relation], entities[tail]) not in rejected
            and (head != tail or relation in looped)
        ]
        scores = bundle.model.score_triples(torch.tensor(candidates)).tolist()
        named = [(entities[head], relations[relation], entities[tail]) for head, _, tail in candidates]
        found = [(*names, score) for names, score in zip(named, scores, strict=True)]
        found.sort(key=lambda one: -one[-1])
        expected[relations[relation]] = found[: config.budget(sum(t[1] == relation for t in train))]
    return expected


@pytest.mark.parametrize(
    "settings",
    [{}, {"share": 0.02, "least": 1, "batch_size": 7}, {"most": 3}, {"peers": 0.5, "relations": ("r1", "r3")}],
)
def test_proposals_are_what_exhaustive_scoring_filter_and_budgets_give(complete, calibrated, settings):
    rows = read(complete(**settings))
    config = ProposeConfig(**settings)
    expected = exhaustive(calibrated, config)
    for relation in config.relations or expected:
        mine = [row for row in rows if row["relation"] == relation]
        assert [keys(row) for row in mine] == [one[:3] for one in expected[relation]]
        assert [row["score"] for row in mine] == pytest.approx([one[3] for one in expected[relation]], abs=1e-4)
        assert [row["rank"] for row in mine] == list(range(1, len(mine) + 1))
    assert {row["relation"] for row in rows} == set(config.relations or expected)
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)


def test_neither_batches_nor_parts_change_the_result(complete, monkeypatch):
    whole = complete()
    monkeypatch.setattr(step, "QUESTIONS_A_PART", 11)
    in_pieces = complete()
    assert [keys(row) for row in read(in_pieces)] == [keys(row) for row in read(whole)]
    assert read_json(in_pieces / SUMMARY)["hide_and_seek"] == read_json(whole / SUMMARY)["hide_and_seek"]


def test_a_row_says_how_sure_by_whom_and_why(complete, calibrated, toy_folder):
    row = read(complete())[0]
    engine = Engine.load(toy_folder)
    (answer,) = engine.answer([{part: row[part] for part in ("head", "relation", "tail")} | {"explain": True}])
    assert row["score"] == pytest.approx(answer["score"], abs=1e-4)
    assert 0 < row["probability"] < 1
    assert dict(row["shares"]) == pytest.approx(answer["shares"], abs=1e-4)
    assert [(near["head"], near["tail"]) for near in row["support"]] == [
        (near["head"]["key"], near["tail"]["key"]) for near in answer["support"]
    ]
    train = {tuple(triple) for triple in calibrated.train.tolist()}
    ids = calibrated.entities.ids
    relation = calibrated.relations.ids[row["relation"]]
    assert all((ids[near["head"]], relation, ids[near["tail"]]) in train for near in row["support"])
    assert (row["model"], row["version"], row["bundle"]) == ("toy", "3", digests.of_folder(toy_folder))
    assert row["id"] == identify(*keys(row))
    assert row["head_name"] == row["head"].replace("e", "entity ")


def test_without_held_out_facts_there_is_no_probability(complete, calibrated, tmp_path):
    blind = replace(calibrated, known=type(calibrated.known)(calibrated.train, 60, 4))
    blind.save(tmp_path / "blind")
    folder = complete(folder=tmp_path / "blind")
    assert {row["probability"] for row in read(folder)} == {None}
    assert read_json(folder / SUMMARY)["reliability"] is None


def test_probabilities_are_those_of_facts_that_were_left_out_of_the_fit(complete):
    found = read_json(complete() / SUMMARY)["reliability"]
    assert sum(group["candidates"] for group in found["groups"]) == found["candidates"]
    assert found["right"] >= 10
    assert found["expected_error"] < 0.1
    chances = [group["probability"] for group in found["groups"]]
    assert chances == sorted(chances)


def test_a_graph_that_lacks_less_has_less_probable_proposals(complete):
    def odds(missing):
        rows = read(complete(missing=missing))
        return {keys(row): row["probability"] / (1 - row["probability"]) for row in rows}

    few, many = odds(0.05), odds(0.5)
    assert set(few) == set(many)
    for triple, value in few.items():
        assert many[triple] / value == pytest.approx(19, rel=1e-6)  # (0.5 / 0.5) / (0.05 / 0.95)


def test_decisions_move_the_probabilities_of_their_relation_most(complete):
    before = {keys(row): row for row in read(complete())}
    of = [triple for triple, row in before.items() if row["relation"] == "r1"]
    rejected, others = of[:4], of[4:]
    after = {keys(row): row["probability"] for row in read(complete(rejected))}
    praised = {keys(row): row["probability"] for row in read(complete((), accepted=rejected))}
    elsewhere = [triple for triple in after if triple in before and triple[1] != "r1"]
    fall = [before[triple]["probability"] / after[triple] for triple in others]
    assert min(fall) > 1
    assert min(fall) > max(before[triple]["probability"] / after[triple] for triple in elsewhere)
    assert all(praised[triple] > before[triple]["probability"] for triple in others)


def test_proposals_below_a_probability_are_left_out_and_counted(complete):
    whole = read(complete())
    bound = sorted(row["probability"] for row in whole)[len(whole) // 2]
    folder = complete(at_least=bound)
    kept = {keys(row) for row in read(folder)}
    assert kept == {keys(row) for row in whole if row["probability"] >= bound}
    assert read_json(folder / SUMMARY)["left_out"] == len(whole) - len(kept) > 0


def test_what_was_rejected_is_not_proposed_again(complete, calibrated):
    rejected = [keys(row) for row in read(complete())[:5]]
    again = read(complete([*rejected, ("nobody", "r1", "e1")]))
    expected = exhaustive(calibrated, ProposeConfig(), frozenset(rejected))
    assert {keys(row) for row in again} == {one[:3] for found in expected.values() for one in found}


def test_loops_are_proposed_only_where_train_has_some(complete, calibrated, tmp_path):
    looped = torch.cat([calibrated.train, torch.tensor([[0, 1, 0]])])
    replace(calibrated, train=looped).save(tmp_path / "looped")
    rows = read(complete(folder=tmp_path / "looped", most=100_000, least=100_000, peers=0.0))
    loops = {row["relation"] for row in rows if row["head"] == row["tail"]}
    assert loops == {"r1"}


def test_hide_and_seek_counts_held_out_triples_among_proposals_of_a_filter_of_train_alone(
    complete, calibrated, tmp_path
):
    blind = replace(calibrated, known=type(calibrated.known)(calibrated.train, 60, 4))
    blind.save(tmp_path / "blind")
    held_out = {tuple(t) for t in calibrated.known} - {tuple(t) for t in calibrated.train.tolist()}
    ids = calibrated.entities.ids, calibrated.relations.ids, calibrated.entities.ids
    proposed = [
        tuple(i[key] for i, key in zip(ids, keys(row), strict=True))
        for row in read(complete(folder=tmp_path / "blind"))
    ]
    figures = read_json(complete() / SUMMARY)["hide_and_seek"]
    assert figures["kept"] == len(proposed)
    assert figures["found"] == len(held_out & set(proposed))
    assert figures["held_out"] == len(held_out) == 120
    assert figures["precision"] > 2 * figures["popularity_precision"]  # the toy model has learned the groups
    assert read_json(complete(folder=tmp_path / "blind") / SUMMARY)["hide_and_seek"] is None


def test_an_unknown_relation_is_refused(complete):
    with pytest.raises(UserError, match="no such relation"):
        complete(relations=("r9",))


def _slow(folder, store, scratch, queue):
    """Propose in another process, each part taking its time."""
    save = step.scan.save

    def saved(path, lists):
        save(path, lists)
        queue.put(path.name)
        time.sleep(0.3)

    step.scan.save, step.QUESTIONS_A_PART, step.digests.of_code = saved, 20, str
    complete_graph(
        folder, ModelName(name="toy", version="3"), ProposeConfig(), open_storage(str(store)), scratch=scratch
    )


def test_what_was_killed_goes_on_where_it_was(toy_folder, tmp_path, monkeypatch, complete):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_slow, args=(toy_folder, tmp_path / "store", tmp_path / "scratch", queue))
    process.start()
    done = [queue.get(timeout=120) for _ in range(3)]
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    monkeypatch.setattr(step, "QUESTIONS_A_PART", 20)
    monkeypatch.setattr(step.digests, "of_code", str)  # the same code, whoever edits it meanwhile
    written = []
    save = step.scan.save
    monkeypatch.setattr(step.scan, "save", lambda path, lists: (written.append(path.name), save(path, lists)))
    resumed = complete()
    assert written
    assert not set(done[:2]) & set(written)
    written.clear()
    assert complete() == resumed  # asked anew, the same bytes
    assert set(done) <= set(written)
    assert not list((tmp_path / "scratch" / "propose").iterdir())


def test_the_step_takes_the_model_from_the_registration_and_tells_mlflow(mmkgc_home, toy_folder, tmp_path):
    from mmkgc.components.runtime import tracking

    storage = open_storage()
    write_json(tmp_path / "registration" / "registration.json", {"model": "toy", "version": "7"})
    registration = storage.publish(tmp_path / "registration", "registrations")
    bundle = storage.publish(toy_folder, "bundles")
    stored = propose(bundle.uri, registration.uri, ProposeConfig(), storage)
    assert {(row["model"], row["version"]) for row in read(storage.fetch(stored.uri))} == {("toy", "7")}
    (run,) = tracking.client().search_runs([tracking.experiment_id("mmkgc")])
    summary = read_json(storage.fetch(stored.uri) / SUMMARY)
    assert run.data.metrics["hidden/precision"] == summary["hide_and_seek"]["precision"]
    assert run.data.metrics["proposals"] == summary["proposals"]
