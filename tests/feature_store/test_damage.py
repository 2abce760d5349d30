"""Damaged files of the store: found before they are used, told in one sentence, and made anew by the same call."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.settings import Settings
from mmkgc.feature_store import catalog, slab
from mmkgc.feature_store.parts import OK, Row
from mmkgc.feature_store.reader import load_features
from mmkgc.feature_store.spec import FeatureSpec
from mmkgc.feature_store.storage import Storage, Stored
from mmkgc.feature_store.writer import Entity, FeatureWriter

Commit = Callable[..., Stored]
VECTORS = {f"e{number}": np.full(4, number + 1, np.float32) for number in range(3)}
KEYS = list(VECTORS)


def flip(path: Path, position: int) -> None:
    """Change one bit of a file, and neither its size nor, as a bad disk does, its times."""
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def again(spec: FeatureSpec, storage: Storage) -> Stored:
    """What the ``extract`` step does: answer from what is committed, else store what is not known, and commit."""
    writer = FeatureWriter(spec, storage)
    entities = [Entity(key, f"content of {key}") for key in KEYS]
    if found := writer.committed(entities):
        return found
    known = writer.known()
    fresh = [entity for entity in entities if entity.content not in known]
    writer.add(Row(entity.key, str(entity.content), VECTORS[entity.key], 1, OK) for entity in fresh)
    return writer.commit(entities)


def values(stored: Stored, storage: Storage) -> list[float]:
    return load_features(stored.uri, KEYS, storage).vectors[:, 0].tolist()


@pytest.mark.parametrize("file", [slab.VECTORS, slab.ENTITIES, slab.SUMS])
@pytest.mark.parametrize("damage", [lambda path: flip(path, -9), lambda path: path.write_bytes(b""), Path.unlink])
def test_a_slab_that_differs_is_built_anew(
    file: str, damage: Callable[[Path], None], local: Storage, commit: Commit, capsys: pytest.CaptureFixture
) -> None:
    stored = commit(local, VECTORS)
    assert values(stored, local) == [1, 2, 3]
    damage(Settings.from_env().scratch / "slabs" / stored.digest / file)
    slab._is_whole.cache_clear()  # what a new process knows
    assert values(stored, local) == [1, 2, 3]
    assert "it is built anew" in capsys.readouterr().err


def test_an_image_that_was_changed_is_refused_and_stored_anew(local: Storage) -> None:
    digest = local.put_blob(b"an image")
    flip(Path(local.root) / "blobs" / digest[:2] / digest, 3)
    with pytest.raises(UserError, match="was changed after it was stored — run with --no-cache"):
        local.blob(digest)
    assert local.put_blob(b"an image") == digest
    assert local.blob(digest) == b"an image"


@pytest.mark.parametrize("pattern", ["commit-*", "manifest-*", "part-*", "entities-*"])
@pytest.mark.parametrize("damage", [lambda path: flip(path, 30), lambda path: path.write_bytes(b""), Path.unlink])
def test_damaged_features_are_made_anew_by_the_next_extraction(
    pattern: str, damage: Callable[[Path], None], local: Storage, spec: Callable[..., FeatureSpec]
) -> None:
    stored = again(spec(), local)
    (path,) = Path(stored.uri).parent.glob(pattern)
    damage(path)
    catalog.committed(local)  # a list is no reason to stop
    if pattern != "commit-*":
        assert not catalog.repair(stored.uri, local)
    mended = again(spec(), local)
    assert mended == stored
    assert catalog.verify(mended.uri, local) == []
    assert values(mended, local) == [1, 2, 3]


def test_a_damaged_pointer_finds_its_manifest_again(local: Storage, spec: Callable[..., FeatureSpec]) -> None:
    stored = again(spec(), local)
    (pointer,) = Path(stored.uri).parent.glob("commit-*")
    for damage in ("", "[]", '{"manifest": 7}', '{"manifest": "cut'):
        pointer.write_text(damage)
        assert catalog.committed(local) == [stored.uri]
        assert json.loads(pointer.read_text()) == {"manifest": stored.digest}


def test_a_damaged_manifest_can_be_given_up(local: Storage, spec: Callable[..., FeatureSpec]) -> None:
    stored = again(spec(), local)
    Path(stored.uri).write_text("{}")
    assert catalog.find(stored.digest[:12], local) == stored.uri
    catalog.forget(stored.uri, local)
    assert catalog.committed(local) == []
