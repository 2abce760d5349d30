"""``mmkgc features``: lists, verifies, cleans and imports into the feature store."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmkgc.components.dataset.modalities import MODALITIES
from mmkgc.components.runtime.errors import UserError, printable
from mmkgc.components.runtime.nouns import counted

if TYPE_CHECKING:
    from mmkgc.feature_store.manifest import Manifest


@click.group()
def features() -> None:
    """List, verify and clean the feature store, and import vectors."""


@features.command("list")
def list_() -> None:
    """List all committed feature sets, one per line, with the error for those that cannot be read."""
    from mmkgc.feature_store.catalog import committed
    from mmkgc.feature_store.manifest import Manifest, digest_of
    from mmkgc.feature_store.opening import open_storage

    storage = open_storage()
    uris = committed(storage)
    for uri in uris:
        try:
            click.echo(_line(uri, Manifest.read(uri, storage)))
        except UserError as error:
            click.echo(f"{digest_of(uri)[:12]}  {error}")
    if not uris:
        click.echo(f"no features in {storage.root} yet: `mmkgc run` or `mmkgc features import` makes some")


@features.command()
@click.argument("manifest")
def show(manifest: str) -> None:
    """Show MANIFEST (URI or beginning of its digest), and the entities without a vector."""
    import pyarrow.compute as pc

    from mmkgc.feature_store.catalog import find
    from mmkgc.feature_store.manifest import Manifest
    from mmkgc.feature_store.opening import open_storage
    from mmkgc.feature_store.parts import OK, read_table

    storage = open_storage()
    uri = find(manifest, storage)
    found = Manifest.read(uri, storage)
    click.echo(uri)
    click.echo(found.to_bytes().decode(), nl=False)
    entities = read_table(found.entities, found.spec, storage)
    troubled = entities.filter(pc.or_(pc.not_equal(entities["status"], OK), pc.not_equal(entities["error"], "")))
    for row in troubled.slice(0, 20).to_pylist():
        click.echo("\t".join(printable(row[column]) for column in ("key", "status", "error")))
    if len(troubled) > 20:
        click.echo(f"… and {len(troubled) - 20} more: {storage.uri(found.spec.folder)}/{found.entities.name}")


@features.command()
@click.argument("manifests", nargs=-1)
def verify(manifests: tuple[str, ...]) -> None:
    """Read every file of MANIFESTS (default: all) and compare digests and vectors."""
    from mmkgc.feature_store import catalog
    from mmkgc.feature_store.opening import open_storage

    storage = open_storage()
    uris = [catalog.find(manifest, storage) for manifest in manifests] or catalog.committed(storage)
    faults = [fault for uri in uris for fault in catalog.verify(uri, storage)]
    for fault in faults:
        click.echo(fault)
    click.echo(f"{counted(len(uris), 'feature set')} read, {counted(len(faults), 'fault')}")
    if faults:
        raise SystemExit(1)


@features.command()
@click.option("--forget", multiple=True, metavar="MANIFEST", help="Remove this feature set first (repeatable).")
@click.option("--grace", default=24.0, show_default=True, type=click.FloatRange(0), metavar="HOURS",
              help="Keep younger unfinished work.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
def gc(forget: tuple[str, ...], grace: float, dry_run: bool) -> None:
    """Delete files that no committed feature set needs, and this machine's stale slabs."""
    from mmkgc.feature_store import catalog
    from mmkgc.feature_store.opening import open_storage

    storage = open_storage()
    given_up = [catalog.find(manifest, storage) for manifest in forget]
    kept = [uri for uri in catalog.committed(storage) if uri not in given_up]
    files, slabs = catalog.garbage(storage, kept, grace), catalog.idle_slabs(kept)
    if not dry_run:
        for uri in given_up:
            catalog.forget(uri, storage)
        catalog.remove(files, slabs, storage)
    size = sum(file.bytes for file in files) / 1e6
    found = f"{counted(len(files), 'file')} ({size:.1f} MB) and {counted(len(slabs), 'slab')}"
    click.echo(f"{'would delete' if dry_run else 'deleted'} {found}")


@features.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--modality", type=click.Choice(list(MODALITIES)), required=True)
@click.option("--keys", type=click.Path(path_type=Path), required=True,
              help="Entities of the rows in order: entities.tsv, entity2id.txt, or one key a line.")  # fmt: skip
@click.option("--array", help="Name of the array in a file with several.")
@click.option("--made-by", default="unknown", show_default=True, help="Encoder that made the vectors, for the record.")
def import_(file: Path, modality: str, keys: Path, array: str | None, made_by: str) -> None:
    """Import vectors from a .pth, .npy, .npz, .h5 or .safetensors file."""
    from mmkgc.components.ingest.keys import read_keys
    from mmkgc.feature_store.importing import import_features
    from mmkgc.feature_store.manifest import Manifest
    from mmkgc.feature_store.opening import open_storage

    storage = open_storage()
    stored = import_features(file, modality, read_keys(keys), storage, array, made_by)
    click.echo(_line(stored.uri, Manifest.read(stored.uri, storage)))


def _line(uri: str, manifest: "Manifest") -> str:
    from mmkgc.feature_store.manifest import digest_of

    return printable(f"{digest_of(uri)[:12]}  {manifest.summary()}")
