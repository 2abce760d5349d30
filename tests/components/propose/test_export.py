"""From a proposal to the next run's train triples."""

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from mmkgc.components.ingest.config import IngestConfig
from mmkgc.components.ingest.ingest import build
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.propose.export import export
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.files import read_json
from mmkgc.pipeline.cli.propose import propose
from mmkgc.serving.review.decisions import Decisions, Status
from mmkgc.serving.review.proposals import FILE, Proposals, Wanted, find


def write_dataset(mmkg, folder):
    """The toy graph as a dataset folder."""
    folder.mkdir()
    graph = mmkg.graph
    typed = zip(graph.entities.keys, graph.entities.names, graph.types, strict=True)
    (folder / "entities.tsv").write_text("key\tname\ttype\n" + "".join("\t".join(row) + "\n" for row in typed))
    pairs = zip(graph.relations.keys, graph.relations.names, strict=True)
    (folder / "relations.tsv").write_text("key\tname\n" + "".join("\t".join(pair) + "\n" for pair in pairs))
    for split in ("train", "valid", "test"):
        rows = [
            (graph.entities.keys[h], graph.relations.keys[r], graph.entities.keys[t])
            for h, r, t in getattr(graph, split).tolist()
        ]
        (folder / f"{split}.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))
    return folder


def test_what_is_accepted_joins_train_and_is_no_longer_proposed(complete, calibrated, toy_mmkg, tmp_path, storage):
    proposals = Proposals(complete(), Decisions(tmp_path / "decisions.jsonl"))
    first, second, third = proposals.page(Wanted(), 3, 0).proposals
    for one, status in ((first, Status.ACCEPTED), (third, Status.ACCEPTED), (second, Status.REJECTED)):
        assert proposals.decide([one.id], status, reviewer=0)
    card = export(proposals.decisions, tmp_path / "accepted")
    assert (card["accepted"], card["rejected"]) == (2, 1)
    accepted = {(one.head.key, one.relation.key, one.tail.key) for one in (first, third)}

    dataset = write_dataset(toy_mmkg, tmp_path / "toy")
    grown = build(str(dataset), IngestConfig(increments=[str(tmp_path / "accepted")]), storage)
    keys = grown.graph.entities.keys, grown.graph.relations.keys, grown.graph.entities.keys
    train = {tuple(k[i] for k, i in zip(keys, triple, strict=True)) for triple in grown.graph.train.tolist()}
    assert accepted <= train
    assert len(train) == len(toy_mmkg.graph.train) + 2
    (lineage,) = grown.info["increments"]
    assert lineage["proposed_by"] == [{"model": "toy", "version": "3", "bundle": proposals.bundle}]

    Bundle.of(calibrated.model, grown.graph).save(tmp_path / "next")
    again = {
        tuple(row[part] for part in ("head", "relation", "tail")) for row in rows(complete(folder=tmp_path / "next"))
    }
    assert not accepted & again
    refuted = (second.head.key, second.relation.key, second.tail.key)
    assert [tuple(k[i] for k, i in zip(keys, triple, strict=True)) for triple in grown.graph.false.tolist()] == [
        refuted
    ]
    assert refuted not in again


def rows(folder):
    return pq.read_table(folder / FILE).to_pylist()


def test_the_same_decisions_give_the_same_bytes(tmp_path):
    log = Decisions(tmp_path / "decisions.jsonl")
    for head in ("b", "a"):
        log.append((head, "r", "c"), Status.ACCEPTED, {"model": "m", "at": head})
    export(log, tmp_path / "one")
    log.append(("b", "r", "c"), Status.ACCEPTED, {"model": "m", "at": "later"})
    export(log, tmp_path / "two")
    for name in ("triples.tsv", "negatives.tsv", "increment.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert (tmp_path / "one" / "triples.tsv").read_text() == "head\trelation\ttail\na\tr\tc\nb\tr\tc\n"


def test_nothing_decided_is_told_and_nothing_written(tmp_path):
    log = Decisions(tmp_path / "decisions.jsonl")
    log.append(("a", "r", "c"), Status.OPEN, {})
    with pytest.raises(UserError, match="no proposal was accepted or rejected there"):
        export(log, tmp_path / "accepted")
    assert not (tmp_path / "accepted").exists()


@pytest.fixture
def run(toy_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(propose, words, catch_exceptions=False)


def test_the_command_proposes_prints_and_exports(run, toy_folder, tmp_path):
    from mmkgc.feature_store.opening import open_storage

    told = run("--bundle", str(toy_folder), "--out", "found.parquet", "--least", "5", "--share", "0.01").output
    table = pq.read_table(tmp_path / "found.parquet")
    assert f"{len(table)} triples proposed" in told
    assert "relation popularity" in told
    assert "relation 0 (5, of which about " in told
    best = table.slice(0, 1).to_pylist()[0]
    likely = max(table.to_pylist(), key=lambda row: row["probability"])
    assert f"{likely['probability']:.1%}  {likely['head_name']} → {likely['tail_name']}" in told
    assert "if the graph lacks 5% of its facts" in told
    assert find(open_storage(), best["bundle"])
    assert find(open_storage(), "another") is None

    proposals = Proposals(tmp_path / "found.parquet")
    proposals.decide([best["id"]], Status.REJECTED, 0)
    again = run("--bundle", str(toy_folder), "--least", "5", "--share", "0.01")
    assert "1 rejected triple is left out; probabilities follow these decisions and 0 accepted ones" in again.stderr
    proposals.decide([best["id"]], Status.ACCEPTED, 0)
    told = run("export", "--name", "mmkgc", "-o", "accepted").output
    assert "1 accepted and 0 rejected triples in accepted" in told
    for form, ending in (("csv", "csv"), ("nquads", "nq"), ("cypher", "cypher")):
        assert run("export", "--name", "mmkgc", "--as", form).output == f"1 accepted fact in accepted.{ending}\n"
        assert best["head"] in (tmp_path / f"accepted.{ending}").read_text()
    assert read_json(tmp_path / "accepted" / "increment.json")["accepted"] == 1


def test_wrong_options_are_one_sentence(run, toy_folder):
    with pytest.raises(UserError, match="mmkgc propose: share: "):
        run("--bundle", str(toy_folder), "--share", "-1")
    with pytest.raises(UserError, match="did you mean 'r1'"):
        run("--bundle", str(toy_folder), "--relation", "r11")
