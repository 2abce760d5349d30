"""The extraction step: contents of a graph's entities → a committed manifest in the feature store."""

import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.encoders.base import Encoder, EncoderConfig
from mmkgc.components.encoders.registry import create
from mmkgc.components.extract.config import ExtractConfig, ImportedConfig, shard_name, step_name
from mmkgc.components.extract.contents import Source, sources
from mmkgc.components.extract.encode import rows
from mmkgc.components.kge.graph import HEAD, TAIL
from mmkgc.components.runtime.progress import track
from mmkgc.components.runtime.tracking import step_run
from mmkgc.feature_store.catalog import find
from mmkgc.feature_store.importing import import_features
from mmkgc.feature_store.inputs import local_input
from mmkgc.feature_store.manifest import Manifest, digest_of
from mmkgc.feature_store.spec import FeatureSpec
from mmkgc.feature_store.storage import Storage, Stored
from mmkgc.feature_store.writer import FeatureWriter

__all__ = ["ExtractConfig", "extract", "extract_shard"]


def extract(graph_uri: str, modality: str, config: ExtractConfig, storage: Storage) -> Stored:
    """The step: features of a published graph, recorded in MLflow."""
    stored = make_features(MMKG.load(storage.fetch(graph_uri)), modality, config, storage)
    manifest = Manifest.read(stored.uri, storage)
    with step_run(step_name(modality), _params(manifest)) as run:
        run.log_metrics({f"{modality}/{status}": count for status, count in manifest.counts.items()})
        run.log_dataset(f"{modality} features", stored.digest, stored.uri, manifest.counts, "extracted")
    return stored


def extract_shard(graph_uri: str, modality: str, config: ExtractConfig, shard: int, storage: Storage) -> None:
    """One of the tasks 1 … ``config.shards`` before the step: encodes its share of the contents, and commits nothing.

    Contents are divided by their digests. What a shard has stored when it is killed stays; the step encodes the rest.
    """
    with step_run(shard_name(modality), tags={"shard": shard}):
        graph = MMKG.load(storage.fetch(graph_uri))
        chosen = _here(config.encoder(modality), storage)
        assert isinstance(chosen, EncoderConfig)
        wanted, encoder, writer = _prepared(graph, create(chosen), config, storage)
        missing = _missing(wanted, writer)
        _encode(
            [each for each in missing if int(str(each.content), 16) % config.shards == shard - 1],
            encoder,
            config,
            writer,
        )


def _params(manifest: Manifest) -> dict[str, Any]:
    """The encoder's identity without fitted values, which may be long; they are in the manifest."""
    options = {
        name: value for name, value in manifest.encoder.get("options", {}).items() if not isinstance(value, dict)
    }
    return manifest.encoder | {"options": options, "dtype": manifest.dtype}


def make_features(graph: MMKG, modality: str, config: ExtractConfig, storage: Storage) -> Stored:
    """Compute or import the vectors of every entity that has the modality; returns the committed manifest.

    Failures of single entities are recorded in the manifest's table of entities and summarised in one line on stderr.
    """
    chosen = _here(config.encoder(modality), storage)
    if isinstance(chosen, ImportedConfig):
        stored = _take_over(graph, modality, chosen, storage)
    else:
        stored = _compute(graph, create(chosen), config, storage)
    print(Manifest.read(stored.uri, storage).summary(), file=sys.stderr)
    return stored


def _here(chosen: EncoderConfig | ImportedConfig, storage: Storage) -> EncoderConfig | ImportedConfig:
    """The configuration with local paths instead of URIs of published files."""
    field = "source" if isinstance(chosen, ImportedConfig) else "weights"
    return chosen.model_copy(update={field: local_input(getattr(chosen, field), storage)})


def _take_over(graph: MMKG, modality: str, chosen: ImportedConfig, storage: Storage) -> Stored:
    """The manifest named in the recipe, or one created from the array file named there."""
    path = Path(chosen.source)
    if path.suffix not in ("", ".json"):
        return import_features(path, modality, graph.graph.entities.keys, storage, chosen.array, chosen.made_by)
    uri = find(chosen.source, storage)
    return Stored(uri, digest_of(uri))


def _compute(graph: MMKG, encoder: Encoder, config: ExtractConfig, storage: Storage) -> Stored:
    """Encode the contents that are not in the store yet, and commit."""
    wanted, encoder, writer = _prepared(graph, encoder, config, storage)
    entities = [source.entity for source in wanted]
    stored = writer.committed(entities)
    if stored is None:
        _encode(_missing(wanted, writer), encoder, config, writer)
        stored = writer.commit(entities)
    return stored


def _prepared(
    graph: MMKG, encoder: Encoder, config: ExtractConfig, storage: Storage
) -> tuple[list[Source], Encoder, FeatureWriter]:
    """Every entity's source, the encoder, fitted, and the writer of its vectors."""
    wanted = sources(graph, encoder.modality)
    encoder = encoder.fit([item for index in _trained(graph) for item in wanted[index].items])
    spec = FeatureSpec(encoder.modality, encoder.spec.model_dump(), config.dtype)
    return wanted, encoder, FeatureWriter(spec, storage)


def _encode(missing: Sequence[Source], encoder: Encoder, config: ExtractConfig, writer: FeatureWriter) -> None:
    """Store the vectors of the missing sources, and say how far it is."""
    progress = step_name(encoder.modality)
    with closing(rows(missing, encoder, config, writer.storage)) as encoded:  # processes end, also after Ctrl-C
        writer.add(track(encoded, progress, len(missing), "entities"))


def _trained(graph: MMKG) -> list[int]:
    """The entities of the training triples, ascending."""
    return graph.graph.train[:, [HEAD, TAIL]].unique().tolist()


def _missing(wanted: Sequence[Source], writer: FeatureWriter) -> list[Source]:
    """Sources whose content has no row yet, one per content."""
    known = writer.known()
    unique = {source.content: source for source in reversed(wanted) if source.content}
    return [source for content, source in reversed(unique.items()) if content not in known]
