"""The extraction step: images or texts of a graph's entities → a committed manifest in the feature store."""

import sys
from collections.abc import Sequence

from components.encoders.base import EncoderSpec
from components.encoders.registry import create
from components.extract.config import ExtractConfig
from components.extract.contents import Source, sources
from components.extract.encode import rows
from components.ingest.mmkg import MMKG
from components.runtime.progress import track
from feature_store.manifest import Manifest
from feature_store.spec import FeatureSpec
from feature_store.storage import Storage, Stored
from feature_store.writer import FeatureWriter

__all__ = ["ExtractConfig", "extract"]


def extract(graph_uri: str, modality: str, config: ExtractConfig, storage: Storage) -> Stored:
    """Vectors of every entity that has the modality; only contents that the store does not know are computed."""
    graph = MMKG.load(storage.fetch(graph_uri))
    encoder = create(config.encoder(modality))
    writer = FeatureWriter(FeatureSpec(modality, encoder.spec.model_dump(), config.dtype), storage)
    wanted = sources(graph, modality)
    entities = [source.entity for source in wanted]
    stored = writer.committed(entities)
    if stored is None:
        missing = _missing(wanted, writer)
        writer.add(track(rows(missing, encoder, config, storage), f"extract {modality}", len(missing), "entities"))
        stored = writer.commit(entities)
    print(summary(Manifest.read(stored.uri, storage)), file=sys.stderr)
    return stored


def _missing(wanted: Sequence[Source], writer: FeatureWriter) -> list[Source]:
    """Sources whose content has no row yet, one a content."""
    known = writer.known()
    unique = {source.content: source for source in reversed(wanted) if source.content}
    return [source for content, source in reversed(unique.items()) if content not in known]


def summary(manifest: Manifest) -> str:
    """One line: how many entities have a vector, how many not, and what the encoder is."""
    spec = EncoderSpec.model_validate(manifest.encoder)
    weights = f"random weights, seed {spec.seed}" if spec.seed is not None else f"weights {spec.weights}"
    counts = ", ".join(f"{count} {status}" for status, count in manifest.counts.items())
    return f"{manifest.modality} features: {counts} · {spec.encoder}, d = {spec.dimension}, {weights}"
