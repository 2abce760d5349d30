"""The step as the pipeline calls it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mmkgc.components.dataset import profile
from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.ingest.config import IngestConfig
from mmkgc.components.ingest.ingest import build, ingest, read_checked
from mmkgc.components.ingest.source import fingerprint
from mmkgc.components.runtime import tracking
from mmkgc.components.runtime.digests import of_folder
from mmkgc.feature_store.storage import Storage

Write = Callable[..., Path]
Build = Callable[..., MMKG]

LEAKY = {"test.tsv": "fi\tborders\tse\nse\tborders\tfi\nno\tcapital\tosl\n"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_the_artifact_is_published_and_tracked(
    write_tsv: Write, storage: Storage, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with tracking.start_run("nordic", "nordic") as parent:
        monkeypatch.setenv("MLFLOW_RUN_ID", parent.id)
        stored = ingest(str(write_tsv(LEAKY)), IngestConfig(allow_leakage=True), storage)

    mmkg = MMKG.load(storage.fetch(stored.uri))
    assert of_folder(Path(stored.uri)) == stored.digest
    assert mmkg.info["leakage"] == 2
    assert mmkg.info["warnings"][0].startswith("LEAKAGE: 2 of 3 test triples in train, too")
    assert "WARNING: LEAKAGE: 2 of 3" in capsys.readouterr().out

    runs = {run.info.run_name: run for run in tracking.client().search_runs([tracking.experiment_id("nordic")])}
    assert runs["ingest"].data.tags["leakage"] == runs["nordic"].data.tags["leakage"] == "2"
    assert runs["ingest"].data.params["allow_leakage"] == "True"
    assert runs["ingest"].data.metrics["graph/entities"] == 4
    assert runs["ingest"].inputs.dataset_inputs[0].dataset.name == "nordic"


def test_where_a_dataset_lies_does_not_change_its_artifact(
    write_tsv: Write, built: Build, storage: Storage, tmp_path: Path
) -> None:
    folder = write_tsv({"dataset.yaml": "name: Nordic"})
    published = storage.publish(folder, "datasets")
    for number, source in enumerate((str(folder), published.uri, f"file://{published.uri}")):
        built(source).save(tmp_path / str(number))
    assert of_folder(tmp_path / "0") == of_folder(tmp_path / "1") == of_folder(tmp_path / "2")


def test_repeated_triples_are_dropped_and_counted(write_tsv: Write, built: Build) -> None:
    train = "no\tborders\tse\nno\tborders\tse\nse\tborders\tfi\nno\tcapital\tosl\nno\tborders\tse\n"
    mmkg = built(write_tsv({"train.tsv": train}))
    assert mmkg.graph.train.tolist() == [[0, 0, 1], [1, 0, 2], [0, 1, 3]]
    assert mmkg.info["notes"] == ["train.tsv: repeated rows that are dropped: 2 of 5."]


def test_unused_relations_are_warned_of(write_tsv: Write, built: Build) -> None:
    relations = "key\tname\nborders\tborders\ncapital\thas capital\n" + "".join(f"r{i}\tr{i}\n" for i in range(5))
    mmkg = built(write_tsv({"relations.tsv": relations}))
    assert mmkg.info["warnings"] == ["relations that are in no train triple: 5 ('r0', 'r1', 'r2', …)"]


def test_the_profile_counts_what_train_never_shows(write_tsv: Write, built: Build) -> None:
    unseen = {"train.tsv": "no\tborders\tse\nse\tborders\tno\n", "valid.tsv": "no\tborders\tno\n"}
    tests = {"test.tsv": "fi\tborders\tse\nno\tcapital\tosl\nse\tborders\tse\n"}
    mmkg = built(write_tsv(unseen | tests))
    assert mmkg.info["counts"] == {
        "entities": 4,
        "relations": 2,
        "train": 2,
        "valid": 1,
        "test": 3,
        "known": 0,
        "unseen_in_test": 2,
        "with_description": 2,
        "with_image": 0,
        "with_number": 0,
    }
    assert "2 test triples have an entity that train never shows" in profile.summary("x", mmkg.info["counts"], [], [])


def test_the_fingerprint_follows_the_content(write_tsv: Write) -> None:
    before = fingerprint(str(write_tsv()))
    assert fingerprint(str(write_tsv())) == before
    assert fingerprint(str(write_tsv(LEAKY))) != before
    assert fingerprint("countries") == "countries"


def test_the_bundled_dataset_passes_every_check(built: Build) -> None:
    mmkg = built("countries")
    assert mmkg.info["name"] == "countries"
    assert (mmkg.info["notes"], mmkg.info["warnings"]) == ([], [])
    assert mmkg.info["counts"]["with_image"] > 190
    assert mmkg.info["counts"]["unseen_in_test"] == 0


IMAGES = {"entities.tsv": "key\tname\timage\nno\tNorway\ta.png\nse\tSweden\t\nfi\tFinland\t\nosl\tOslo\t\n"}


@pytest.mark.parametrize("how", ["inside", "linked", "in a linked folder", "absolute"])
def test_the_fingerprint_sees_a_changed_picture_wherever_it_lies(write_tsv: Write, tmp_path: Path, how: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    path = {"inside": "a.png", "linked": "a.png", "in a linked folder": "img/a.png"}.get(how, str(elsewhere / "a.png"))
    folder = write_tsv({"entities.tsv": IMAGES["entities.tsv"].replace("a.png", path)})
    picture = folder / "a.png" if how == "inside" else elsewhere / "a.png"
    if how == "linked":
        (folder / "a.png").symlink_to(picture)
    (folder / "img").symlink_to(elsewhere)
    found = [fingerprint(str(folder))]
    for content in (b"one", b"two"):
        picture.write_bytes(content)
        found.append(fingerprint(str(folder)))
    assert len(set(found)) == 3


@pytest.mark.timeout(20)
def test_the_fingerprint_sees_only_what_ingest_reads(write_tsv: Write) -> None:
    folder = write_tsv(IMAGES)
    before = fingerprint(str(folder))
    (folder / ".mmkgc" / "store").mkdir(parents=True)
    (folder / ".mmkgc" / "store" / "blob").write_bytes(b"what a run writes")
    (folder / "notes.txt").write_text("notes")
    assert fingerprint(str(folder)) == before
    os.mkfifo(folder / "a.png")  # reading it would not end
    assert fingerprint(str(folder)) == before
    (folder / "dev.tsv").write_text("se\tborders\tfi\n")
    assert fingerprint(str(folder)) == before, "valid.tsv comes first"
    (folder / "valid.tsv").unlink()
    assert fingerprint(str(folder)) != before


def test_the_fingerprint_of_an_openke_folder_is_that_of_its_files(write_openke: Write) -> None:
    folder = write_openke()
    before = fingerprint(str(folder))
    (folder / "type_constrain.txt").write_text("1")
    assert fingerprint(str(folder)) == before
    (folder / "dataset.yaml").write_text("columns: htr")
    assert fingerprint(str(folder)) != before


def test_the_graph_as_checked_is_saved_as_the_graph_in_memory(
    write_tsv: Write, storage: Storage, tmp_path: Path
) -> None:
    """Both ways give the same bytes: ingest writes the one, everything else loads and may save the other."""
    folder = write_tsv({"entities.tsv": "key\tname\ttype\nno\tNorway\tstate\nse\t\t\nfi\tFinland\t\nosl\tOslo\ttown\n"})
    read_checked(str(folder), IngestConfig(), storage).save(tmp_path / "checked")
    build(str(folder), IngestConfig(), storage).save(tmp_path / "loaded")
    written = {path.name: path.read_bytes() for path in (tmp_path / "checked").iterdir()}
    assert written == {path.name: path.read_bytes() for path in (tmp_path / "loaded").iterdir()}
    assert len(written) == 7


def test_ingest_needs_no_pytorch() -> None:
    """PyTorch alone takes more memory than ingesting a million triples."""
    program = "import sys, mmkgc.components.ingest.ingest; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"
