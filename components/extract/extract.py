"""The extraction step: contents of a graph's entities → a committed manifest in the feature store."""

import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.encoders.base import Encoder, EncoderConfig
from mmkgc.components.encoders.registry import create
from mmkgc.components.extract.config import ExtractConfig, ImportedConfig, step_name
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
    with step_run(step_name(modality, shard=True), tags={"shard": shard}):
        graph = MMKG.load(storage.fetch(graph_uri))
        chosen = _here(config.encoder(modality), storage)
        assert isinstance(chosen, EncoderConfig)
        work = _Work.of(graph, create(chosen), config, storage)
        work.encode(lambda content: int(content, 16) % config.shards == shard - 1)


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
    work = _Work.of(graph, encoder, config, storage)
    stored = work.committed()
    if stored is None:
        work.encode()
        stored = work.commit()
    return stored


@dataclass(frozen=True)
class _Work:
    """Every entity's source, the encoder, fitted, and the writer of its vectors."""

    sources: Sequence[Source]
    encoder: Encoder
    writer: FeatureWriter
    config: ExtractConfig

    @classmethod
    def of(cls, graph: MMKG, encoder: Encoder, config: ExtractConfig, storage: Storage) -> "_Work":
        wanted = sources(graph, encoder.modality)
        encoder = encoder.fit([item for index in _trained(graph) for item in wanted[index].items])
        spec = FeatureSpec(encoder.modality, encoder.spec.model_dump(), config.dtype)
        return cls(wanted, encoder, FeatureWriter(spec, storage), config)

    def committed(self) -> Stored | None:
        return self.writer.committed([source.entity for source in self.sources])

    def commit(self) -> Stored:
        return self.writer.commit([source.entity for source in self.sources])

    def encode(self, mine: Callable[[str], bool] = lambda content: True) -> None:
        """Store the vectors of the contents that have none yet and are ``mine``."""
        missing = _missing(self.sources, self.writer, mine)
        progress = step_name(self.encoder.modality)
        storage = self.writer.storage
        with closing(rows(missing, self.encoder, self.config, storage)) as encoded:  # processes end, also after Ctrl-C
            self.writer.add(track(encoded, progress, len(missing), "entities"))


def _trained(graph: MMKG) -> list[int]:
    """The entities of the training triples, ascending."""
    return graph.graph.train[:, [HEAD, TAIL]].unique().tolist()


def _missing(wanted: Sequence[Source], writer: FeatureWriter, mine: Callable[[str], bool]) -> list[Source]:
    """Sources whose content has no row yet and is ``mine``, one per content."""
    known = writer.known()
    unique = {source.content: source for source in reversed(wanted) if source.content}
    return [source for content, source in reversed(unique.items()) if content not in known and mine(content)]
