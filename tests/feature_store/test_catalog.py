import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mmkgc.components.runtime.errors import UserError
from mmkgc.feature_store import catalog
from mmkgc.feature_store.manifest import Manifest, digest_of
from mmkgc.feature_store.parts import OK, Row
from mmkgc.feature_store.reader import load_features
from mmkgc.feature_store.spec import FeatureSpec
from mmkgc.feature_store.storage import Storage, Stored
from mmkgc.feature_store.writer import FeatureWriter
from mmkgc.pipeline.cli.features import features

Commit = Callable[..., Stored]
ONES = {"e0": np.ones(4, np.float32), "e1": np.full(4, 2, np.float32)}


def shared_prefix(storage: Storage, commit: Commit) -> str:
    """The first digit of two digests: of a further manifest and of an earlier one."""
    seen = {catalog.digest_of(uri)[0] for uri in catalog.committed(storage)}
    for value in range(3, 20):
        digit = commit(storage, {f"e{value}": np.full(4, value, np.float32)}).digest[0]
        if digit in seen:
            return digit
        seen.add(digit)
    raise AssertionError("sixteen digits, seventeen digests")


def test_committed_manifests_are_listed_and_found(storage: Storage, commit: Commit) -> None:
    assert catalog.committed(storage) == []
    one, two = commit(storage, ONES), commit(storage, {"e0": ONES["e0"]})
    assert catalog.committed(storage) == sorted([one.uri, two.uri])
    assert catalog.find(one.digest[:10], storage) == catalog.find(one.uri, storage) == one.uri
    with pytest.raises(UserError, match="the name is empty"):
        catalog.find("", storage)
    with pytest.raises(UserError, match="means 2 manifests"):
        catalog.find(shared_prefix(storage, commit), storage)
    with pytest.raises(UserError, match="is no committed manifest"):
        catalog.find("xyz", storage)


def test_verify_finds_every_kind_of_damage(local: Storage, spec: Callable[..., FeatureSpec], commit: Commit) -> None:
    stored = commit(local, ONES | {"bad": None})
    assert catalog.verify(stored.uri, local) == []
    (part,) = Path(stored.uri).parent.glob("part-*")
    whole = part.read_bytes()
    part.write_bytes(whole[:-9])
    assert "changed after it was written" in catalog.verify(stored.uri, local)[0]
    part.unlink()
    assert [fault.split(":")[-2:] for fault in catalog.verify(stored.uri, local)][1:] == [
        ["entity 'e0'", " its vector is in no part"],
        ["entity 'e1'", " its vector is in no part"],
    ]
    zero = commit(local, {"zero": np.zeros(4, np.float32)})
    assert "1 vector is zero or not finite" in catalog.verify(zero.uri, local)[0]
    Path(stored.uri).write_text("{}")
    assert "the manifest was changed" in catalog.verify(stored.uri, local)[0]


def test_garbage_is_what_no_manifest_needs(
    storage: Storage, spec: Callable[..., FeatureSpec], commit: Commit, home: Path
) -> None:
    kept, given_up = commit(storage, {"e0": ONES["e0"]}), commit(storage, ONES)
    FeatureWriter(spec(), storage).add([Row("late", "late", ONES["e0"], 1, OK)])
    uris = catalog.committed(storage)
    load_features(given_up.uri, ["e1"], storage)
    assert catalog.garbage(storage, uris) == [], "an unfinished writer still needs its part"
    assert len(catalog.garbage(storage, uris, grace_hours=-1)) == 1
    files = catalog.garbage(storage, [kept.uri], grace_hours=-1)
    assert len(files) == 4, "the late part; a manifest, its entities and its own part"
    catalog.forget(given_up.uri, storage)
    catalog.remove(files, catalog.idle_slabs([kept.uri]), storage)
    assert catalog.committed(storage) == [kept.uri]
    assert catalog.verify(kept.uri, storage) == []
    assert not list((home / "scratch" / "slabs").iterdir())
    assert catalog.garbage(storage, [kept.uri], grace_hours=-1) == []


def test_the_command_line(local: Storage, commit: Commit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMKGC_STORAGE", local.root)

    def run(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(features, arguments)
        assert result.exit_code == code, result.output
        return result.output

    assert "no features in" in run("list")
    stored = commit(local, ONES | {"bad": None})
    line = "visual features: 1 failed, 2 ok · toy, pooled d = 4, random weights, seed 0"
    assert run("list") == f"{stored.digest[:12]}  {line}\n"
    assert "bad\tfailed\tbad" in run("show", stored.digest[:8])
    assert "1 feature set read, 0 faults" in run("verify")
    np.save(tmp_path / "v.npy", np.ones((2, 3), np.float32))
    (tmp_path / "keys").write_text("Q1\nQ2\n")
    imported = run("import", str(tmp_path / "v.npy"), "--modality", "textual", "--keys", str(tmp_path / "keys"))
    assert "textual features: 2 ok · imported, pooled d = 3, weights unknown" in imported
    digest = imported.split()[0]
    assert "would delete 3 files" in run("gc", "--forget", digest, "--grace", "0", "--dry-run")
    assert len(run("list").splitlines()) == 2
    assert "deleted 3 files" in run("gc", "--forget", digest, "--grace", "0")
    older = commit(local, ONES)
    Path(older.uri).write_text("{}")
    changed = f"the manifest was changed after it was written — extract the features again, or give it up by \
`mmkgc features gc --forget {older.digest[:12]}`"
    assert f"{older.digest[:12]}  {older.uri}: {changed}" in run("list").splitlines()
    run("gc", "--forget", older.digest[:12])
    assert run("list") == f"{stored.digest[:12]}  {line}\n"
    (part,) = Path(stored.uri).parent.glob("part-*")
    os.truncate(part, 10)
    assert "1 feature set read, 3 faults" in run("verify", stored.digest[:8], code=1)
    assert digest_of(stored.uri) == stored.digest
    assert Manifest.read(stored.uri, local).counts == {"failed": 1, "ok": 2}
