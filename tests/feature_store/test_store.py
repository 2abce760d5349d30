"""Writing, committing and reading features."""

import json
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkgc.components.runtime import digests
from mmkgc.components.runtime.errors import UserError
from mmkgc.feature_store import catalog
from mmkgc.feature_store.manifest import Manifest
from mmkgc.feature_store.opening import open_storage
from mmkgc.feature_store.parts import OK, Row
from mmkgc.feature_store.reader import dropped, load_features, load_tokens
from mmkgc.feature_store.slab import open_slab
from mmkgc.feature_store.spec import FeatureSpec
from mmkgc.feature_store.storage import Storage, Stored
from mmkgc.feature_store.writer import PART_ROWS, Entity, FeatureWriter

Vectors = dict[str, np.ndarray | None]
Spec = Callable[..., FeatureSpec]
Commit = Callable[..., Stored]


def some(count: int, dimension: int = 4) -> Vectors:
    numbers = np.random.default_rng(count).standard_normal((count, dimension)).astype(np.float32)
    return {f"e{index}": vector for index, vector in enumerate(numbers)}


def stacked(vectors: Vectors) -> np.ndarray:
    return np.stack([vector if vector is not None else np.zeros(4, np.float32) for vector in vectors.values()])


def test_vectors_come_back_in_any_order(storage: Storage, commit: Commit) -> None:
    vectors = some(PART_ROWS + 7) | {"broken": None}
    uri = commit(storage, vectors).uri
    for _ in range(2):
        found = load_features(uri, list(vectors), storage)
        np.testing.assert_array_equal(found.vectors, stacked(vectors))
        assert found.mask.tolist() == [vector is not None for vector in vectors.values()]
    backwards = load_features(uri, list(vectors)[::-1], storage)
    np.testing.assert_array_equal(backwards.vectors, stacked(vectors)[::-1])
    assert len(Manifest.read(uri, storage).parts) == 2


def test_only_new_content_is_written_and_old_manifests_stay_readable(storage: Storage, commit: Commit) -> None:
    first = some(20)
    old = commit(storage, first)
    changed = {key: vector for key, vector in first.items() if key != "e3"} | some(21, 4) | {"new": np.ones(4, "f4")}
    new = commit(storage, changed)
    assert new.digest != old.digest
    parts = Manifest.read(new.uri, storage).parts
    assert [part.rows for part in parts if part not in Manifest.read(old.uri, storage).parts] == [2]
    np.testing.assert_array_equal(load_features(old.uri, list(first), storage).vectors, stacked(first))
    assert load_features(new.uri, ["new"], storage).vectors.tolist() == [[1, 1, 1, 1]]


def test_the_same_request_is_answered_by_the_same_manifest(storage: Storage, spec: Spec, commit: Commit) -> None:
    vectors = some(5)
    stored = commit(storage, vectors)
    entities = [Entity(key, f"content of {key}") for key in vectors]
    assert FeatureWriter(spec(), storage).committed(entities) == stored == commit(storage, vectors)
    assert FeatureWriter(spec(), storage).committed(entities[1:]) is None


def test_uncommitted_work_is_unseen_and_taken_over(storage: Storage, spec: Spec, commit: Commit) -> None:
    vectors = some(6)
    killed = FeatureWriter(spec(), storage)
    killed.add(Row(key, f"content of {key}", vector, 1, OK) for key, vector in list(vectors.items())[:4])
    assert not [file for file in storage.files("features/") if "manifest" in file.path]
    assert killed.known() == {f"content of e{index}" for index in range(4)}
    manifest = Manifest.read(commit(storage, vectors).uri, storage)
    assert sorted(part.rows for part in manifest.parts) == [2, 4]


def test_missing_entities_have_a_row_with_the_reason(local: Storage, spec: Spec) -> None:
    writer = FeatureWriter(spec(), local)
    writer.add([Row("a", "x", np.ones(4, "f4"), 2, OK)])
    stored = writer.commit([Entity("a", "x"), Entity("twin", "x"), Entity("bare", None, "no image")])
    manifest = Manifest.read(stored.uri, local)
    table = pq.read_table(Path(stored.uri).with_name(manifest.entities.name)).to_pylist()
    assert [(row["status"], row["images"], row["error"]) for row in table] == [
        ("ok", 2, ""),
        ("ok", 2, ""),
        ("missing", 0, "no image"),
    ]
    assert manifest.counts == {"missing": 1, "ok": 2}
    assert load_features(stored.uri, ["bare", "twin"], local).mask.tolist() == [False, True]


def test_unknown_entities_are_refused(local: Storage, commit: Commit) -> None:
    uri = commit(local, some(3)).uri
    with pytest.raises(UserError, match="1 of 2 entities, such as 'stranger'"):
        load_features(uri, ["e0", "stranger"], local)


def test_a_part_is_readable_by_anyone(local: Storage, commit: Commit) -> None:
    uri = commit(local, {"e0": np.arange(4, dtype=np.float32), "bad": None}).uri
    (part,) = Path(uri).parent.glob("part-*.parquet")
    table = pq.read_table(part, partitioning=None)
    assert table.column_names == ["key", "content", "vector", "images", "status", "error"]
    assert str(table.schema.field("vector").type).startswith("fixed_size_list<element: float not null>[4]")
    assert table.schema.metadata[b"weights"] == b"random"
    assert np.isnan(table["vector"].to_pylist()[1]).all(), "a failed row is loud, not zero"
    column = pq.ParquetFile(part).metadata.row_group(0).column(2)
    assert column.compression == "ZSTD"
    assert "BYTE_STREAM_SPLIT" in column.encodings
    assert not any("DICTIONARY" in encoding for encoding in column.encodings)
    assert part.parent.relative_to(local.root).parts[:-1] == ("features", "modality=visual", "encoder=toy")


def test_half_precision_is_stored_in_half_the_bytes(local: Storage, spec: Spec, commit: Commit) -> None:
    vectors = some(50, 64)
    uri = commit(local, vectors, spec(64, "float16")).uri
    found = load_features(uri, list(vectors), local)
    assert found.vectors.dtype == torch.float32
    np.testing.assert_array_equal(found.vectors, stacked(vectors).astype(np.float16))
    with pytest.raises(UserError, match="does not fit into float16"):
        commit(local, {"huge": np.full(64, 1e6, np.float32)}, spec(64, "float16"))


def test_changed_files_are_refused(storage: Storage, commit: Commit, home: Path) -> None:
    stored = commit(storage, some(5))
    folder = storage.path(stored.uri).rpartition("/")[0]
    manifest = Manifest.read(stored.uri, storage)
    part = f"{folder}/{manifest.parts[0].name}"
    whole = storage.read(part)
    for damaged in (whole[:-1], whole[:100] + b"\0" + whole[101:]):
        storage.write(part, damaged)
        with pytest.raises(UserError, match="changed after it was written"):
            load_features(stored.uri, ["e0"], storage)
    storage.delete(part)
    with pytest.raises(UserError, match="this file of the features is gone"):
        load_features(stored.uri, ["e0"], storage)
    storage.write(storage.path(stored.uri), manifest.to_bytes() + b" ")
    with pytest.raises(UserError, match="the manifest was changed"):
        load_features(stored.uri, ["e0"], storage)
    assert not list((home / "scratch" / "slabs").glob("*")), "nothing half-built is left"


def test_no_changed_byte_reaches_a_reader(local: Storage, commit: Commit, home: Path) -> None:
    vectors = some(20)
    stored = commit(local, vectors)
    (part,) = Path(stored.uri).parent.glob("part-*")
    whole = part.read_bytes()
    for position in range(0, len(whole), 41):
        part.write_bytes(whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :])
        with pytest.raises(UserError, match="changed after it was written"):
            load_features(stored.uri, list(vectors), local)
    assert catalog.verify(stored.uri, local), "verify recomputes the SHA-256"


def test_a_manifest_of_an_older_format_is_made_again(storage: Storage, commit: Commit) -> None:
    stored = commit(storage, some(5))
    path = storage.path(stored.uri)
    older = storage.read(path).replace(b'"format": 2', b'"format": 1')
    storage.write(path.replace(stored.digest, digests.of_bytes(older)), older)
    (pointer,) = (file.path for file in storage.files("features/") if "/commit-" in file.path)
    storage.write(pointer, json.dumps({"manifest": digests.of_bytes(older)}).encode())
    assert commit(storage, some(5)) == stored


def test_lost_files_are_made_again(local: Storage, commit: Commit) -> None:
    stored = commit(local, some(5))
    (part,) = Path(stored.uri).parent.glob("part-*")
    part.unlink()
    assert commit(local, some(5)) == stored
    assert load_features(stored.uri, ["e1"], local).mask.all()


def test_the_slab_is_mapped_not_read(local: Storage, commit: Commit) -> None:
    vectors = some(3000, 256)
    uri = commit(local, vectors, _wide(256)).uri
    open_slab(uri, local)
    before = _anonymous_kilobytes()
    slabs = [open_slab(uri, local) for _ in range(20)]
    assert sum(float(slab.vectors.sum()) for slab in slabs) != 0
    assert _anonymous_kilobytes() - before < 20_000, "twenty copies would take 60 MB"


def _wide(dimension: int) -> FeatureSpec:
    return FeatureSpec("visual", {"encoder": "toy", "weights": "random", "dimension": dimension, "output": "pooled"})


def _anonymous_kilobytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_token_sequences_come_back_cut_and_padded(data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=8))
    limit = data.draw(st.integers(1, 7))
    numbers = np.random.default_rng(0)
    sequences = [numbers.standard_normal((length, 3)).astype(np.float32) for length in lengths]
    identity = {"encoder": "toy", "weights": "random", "dimension": 3, "output": "tokens"}
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMKGC_HOME", folder)
        storage = open_storage()
        writer = FeatureWriter(FeatureSpec("textual", identity, "float32"), storage)
        writer.add(Row(f"e{index}", f"c{index}", sequence, 1, OK) for index, sequence in enumerate(sequences))
        entities = [Entity(f"e{index}", f"c{index}") for index in range(len(sequences))]
        uri = writer.commit([*entities, Entity("bare", None)]).uri
        found = load_tokens(uri, ["bare", *(entity.key for entity in entities)], limit, storage)
        with pytest.raises(UserError, match="token sequences"):
            load_features(uri, ["e0"], storage)
    assert found.mask.sum(1).tolist() == [0, *(min(length, limit) for length in lengths)]
    for row, sequence in zip(found.vectors[1:].numpy(), sequences, strict=True):
        kept = sequence[:limit]
        np.testing.assert_array_equal(row[: len(kept)], kept)
        assert not row[len(kept) :].any()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.none() | st.integers(0, 5), min_size=1, max_size=12))
def test_entities_may_share_a_content(contents: list[int | None]) -> None:
    vectors = some(6)
    identity = {"encoder": "toy", "weights": "random", "dimension": 4, "output": "pooled"}
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMKGC_HOME", folder)
        storage = open_storage()
        writer = FeatureWriter(FeatureSpec("visual", identity, "float32"), storage)
        used = sorted({content for content in contents if content is not None}, reverse=True)
        writer.add(Row("first", f"c{content}", vectors[f"e{content}"], 1, OK) for content in used)
        named = [None if content is None else f"c{content}" for content in contents]
        uri = writer.commit([Entity(f"e{row}", content) for row, content in enumerate(named)]).uri
        found = load_features(uri, [f"e{row}" for row in range(len(contents))], storage)
    expected = [None if content is None else vectors[f"e{content}"] for content in contents]
    np.testing.assert_array_equal(found.vectors, stacked({f"e{row}": vector for row, vector in enumerate(expected)}))
    assert found.mask.tolist() == [content is not None for content in contents]


def test_pooled_features_are_no_sequences(local: Storage, commit: Commit) -> None:
    with pytest.raises(UserError, match="these features are pooled"):
        load_tokens(commit(local, some(2)).uri, ["e0"], 4, local)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(0, 5), st.floats(0, 1), st.floats(0, 1))
def test_dropping_takes_an_exact_share_and_nests(mask: list[bool], seed: int, one: float, other: float) -> None:
    present = torch.tensor(mask)
    less, more = (dropped(present, share, seed) for share in sorted((one, other)))
    assert int(more.sum()) == round(max(one, other) * sum(mask))
    assert not (less & ~more).any()
    assert not (more & ~present).any()


def test_a_dropped_modality_leaves_no_vector(local: Storage, commit: Commit) -> None:
    vectors = some(50)
    uri = commit(local, vectors).uri
    found = load_features(uri, list(vectors), local, drop=0.4, seed=3)
    assert int(found.mask.sum()) == 30
    assert torch.equal(found.vectors.any(dim=1), found.mask)
    assert torch.equal(found.mask, load_features(uri, list(vectors), local, drop=0.4, seed=3).mask)
    assert not torch.equal(found.mask, load_features(uri, list(vectors), local, drop=0.4, seed=4).mask)
    assert load_features(uri, list(vectors), local).mask.all(), "the slab itself is untouched"


def test_of_racing_writers_one_wins(storage: Storage, spec: Spec) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(2)
    with context.Pool(2, _arm, (start,)) as pool:
        returned = pool.starmap(_commit_noisily, [(storage.root, spec(), seed) for seed in (1, 2)], 1)
    answer = FeatureWriter(spec(), storage).committed([Entity("e0", "c0")])
    assert returned == [answer, answer]


def _arm(start: object) -> None:
    globals()["START"] = start


def _commit_noisily(root: str, spec: FeatureSpec, seed: int) -> Stored:
    """Commit vectors that differ from the other writer's, as two machines' rounding makes them."""
    writer = FeatureWriter(spec, open_storage(root))
    writer.known()
    globals()["START"].wait(60)
    writer.add([Row("e0", "c0", np.full(4, seed, np.float32), 1, OK)])
    return writer.commit([Entity("e0", "c0")])


def test_manifests_name_no_time_and_no_place(local: Storage, commit: Commit, tmp_path: Path) -> None:
    elsewhere = open_storage(str(tmp_path / "elsewhere"))
    one, two = commit(local, some(5)), commit(elsewhere, some(5))
    assert one.digest == two.digest
    assert str(tmp_path) not in json.dumps(Manifest.read(one.uri, local).model_dump())
