"""Accepted triples join train, and nothing else does."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.ingest.increments import fingerprint
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.files import write_json
from mmkgc.feature_store.storage import Storage

NEW = "head\trelation\ttail\nfi\tcapital\tosl\nse\tcapital\tosl\n"


@pytest.fixture
def increment(tmp_path: Path) -> Callable[..., str]:
    def written(triples: str = NEW, name: str = "accepted") -> str:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "triples.tsv").write_text(triples)
        write_json(folder / "increment.json", {"model": "nordic", "version": "3", "accepted": 2})
        return str(folder)

    return written


def names(mmkg: MMKG, split: str) -> list[tuple[str, str, str]]:
    entities, relations = mmkg.graph.entities.keys, mmkg.graph.relations.keys
    return [(entities[h], relations[r], entities[t]) for h, r, t in getattr(mmkg.graph, split).tolist()]


@pytest.mark.parametrize("form", ["write_tsv", "write_openke"])
def test_accepted_triples_are_the_last_of_train_and_their_lineage_is_kept(request, form, built, increment):
    folder = request.getfixturevalue(form)()
    before, after = built(folder), built(folder, increments=[increment()])
    assert names(after, "train") == [*names(before, "train"), ("fi", "capital", "osl"), ("se", "capital", "osl")]
    assert names(after, "valid") == names(before, "valid")
    (lineage,) = after.info["increments"]
    assert (lineage["added"], lineage["model"], lineage["version"]) == (2, "nordic", "3")
    assert len(lineage["sha256"]) == 64
    assert "increments" not in before.info
    assert after.info["counts"]["train"] == before.info["counts"]["train"] + 2


def test_what_was_rejected_is_false_and_the_next_run_says_so(write_tsv, built, increment):
    place = Path(increment())
    (place / "negatives.tsv").write_text("head\trelation\ttail\nno\tcapital\tse\nosl\tborders\tno\n")
    folder = write_tsv({"negatives.tsv": "osl\tborders\tno\nosl\tborders\tno\nosl\tborders\tfi\n"})
    mmkg = built(folder, increments=[str(place)])
    assert names(mmkg, "false") == [("osl", "borders", "no"), ("osl", "borders", "fi"), ("no", "capital", "se")]
    said = " ".join(mmkg.info["notes"])
    assert "negatives.tsv: 2 triples are known to be false; 1 repeated row is dropped." in said
    assert "2 accepted triples join train (Finland has capital Oslo, Sweden has capital Oslo);" in said
    mmkg.save(folder.parent / "saved")
    assert names(MMKG.load(folder.parent / "saved"), "false") == names(mmkg, "false")


def test_nothing_is_said_of_an_export_without_rejections(write_tsv, built, increment):
    place = Path(increment())
    (place / "negatives.tsv").write_text("head\trelation\ttail\n")
    assert not any("known to be false" in note for note in built(write_tsv(), increments=[str(place)]).info["notes"])


def test_what_one_reviewer_accepts_and_another_rejects_is_refused(write_tsv, built, increment):
    place = Path(increment(name="other"))
    (place / "negatives.tsv").write_text("fi\tcapital\tosl\n")
    with pytest.raises(UserError, match=r"other/negatives.tsv, line 1: this triple is known to be false here and true"):
        built(write_tsv(), increments=[increment(), str(place)])


def test_an_increment_may_hold_rejected_triples_alone(write_tsv, built, increment):
    place = Path(increment("head\trelation\ttail\n"))
    before = fingerprint([str(place)])
    (place / "negatives.tsv").write_text("fi\tcapital\tosl\n")
    assert fingerprint([str(place)]) != before
    assert names(built(write_tsv(), increments=[str(place)]), "false") == [("fi", "capital", "osl")]


def test_confidence_stays_with_its_triple(write_tsv, built, increment):
    rows = ["no\tborders\tse\t0.5", "se\tborders\tfi\t1", "no\tcapital\tosl\t2.5e-1", "fi\tborders\tno\t.75"]
    folder = write_tsv({"train.tsv": "\n".join(["head\trelation\ttail\tconfidence", *rows]), "valid.tsv": None})
    stated = {tuple(row.split("\t")[:3]): float(row.split("\t")[3]) for row in rows}
    mmkg = built(folder, increments=[increment()], dev_share=0.5)
    mmkg.save(folder.parent / "saved")
    for graph in (mmkg, MMKG.load(folder.parent / "saved")):
        found = dict(zip(names(graph, "train"), graph.graph.confidence.tolist(), strict=True))
        assert found == {triple: stated.get(triple, 1.0) for triple in names(graph, "train")}
    assert "count less in the loss" in " ".join(mmkg.info["notes"])
    assert built(write_tsv()).graph.confidence is None


def test_a_triple_counts_once_whoever_accepts_it_again(write_tsv, built, increment):
    again = increment("no\tborders\tse\nfi\tcapital\tosl\nfi\tcapital\tosl\n", "again")
    mmkg = built(write_tsv(), increments=[increment(), again])
    assert len(set(names(mmkg, "train"))) == len(names(mmkg, "train")) == 6
    assert "0 accepted triples join train; in it already: 3." in mmkg.info["notes"]


def test_a_development_split_that_is_carved_from_train_takes_none_of_them(write_tsv, built, increment):
    folder = write_tsv({"valid.tsv": None})
    before, after = (built(folder, increments=places, dev_share=0.5) for places in ((), (increment(),)))
    assert names(after, "valid") == names(before, "valid")


@pytest.mark.parametrize(
    ("triples", "message"),
    [
        ("no\tborders\tdk\n", r"triples.tsv, line 1: tail 'dk' is not in entities.tsv"),
        ("no\tborderz\tse\n", r"relation 'borderz' is not in relations.tsv — add .* did you mean 'borders'"),
        (
            "no\tcapital\tosl\nfi\tborders\tse\n",
            "triples.tsv, line 2: this triple is in test — a model cannot be judged",
        ),
        ("se\tborders\tno\n", "this triple is in the development split"),
        ("no\tse\n", "the line has 2 columns where 3 belong"),
    ],
)
def test_what_cannot_be_added_is_refused(write_tsv, built, increment, triples, message):
    with pytest.raises(UserError, match=message) as refusal:
        built(write_tsv(), increments=[increment(triples)])
    assert "\n" not in str(refusal.value)


def test_of_an_openke_folder_its_own_files_are_named(write_openke, built, increment):
    with pytest.raises(UserError, match=r"tail 'dk' is not in entity2id.txt"):
        built(write_openke(), increments=[increment("no\tborders\tdk\n")])


def test_a_folder_without_triples_is_told(write_tsv, built, tmp_path):
    with pytest.raises(UserError, match=r"this file is missing — the folder needs triples\.tsv"):
        built(write_tsv(), increments=[str(tmp_path)])
    with pytest.raises(UserError, match="mmkgc propose export"):
        fingerprint([str(tmp_path)])


def test_the_cache_sees_what_is_in_an_increment(increment, storage: Storage):
    assert fingerprint([]) == ""
    place = increment()
    before = fingerprint([place])
    increment("no\tcapital\tosl\n")
    assert fingerprint([place]) != before
    stored = storage.publish(Path(place), "increments")
    assert fingerprint([stored.uri]) == fingerprint([stored.uri])


def test_the_cache_sees_nothing_else_in_an_increment(increment):
    place = Path(increment())
    before = fingerprint([str(place)])
    (place / "notes.txt").write_text("notes")
    assert fingerprint([str(place)]) == before
    (place / "increment.json").write_text("{}")
    assert fingerprint([str(place)]) != before


@pytest.mark.parametrize("card", ["{", "[]", "9" * 5000, "[" * 100_000, "\ud800".encode("utf-8", "surrogatepass")])
def test_a_card_that_is_none_is_refused(write_tsv, built, increment, card):
    place = Path(increment())
    (place / "increment.json").write_bytes(card if isinstance(card, bytes) else card.encode())
    with pytest.raises(
        UserError, match=r"increment\.json: this is not .*JSON.* delete it: the triples alone are enough"
    ):
        built(write_tsv(), increments=[str(place)])
