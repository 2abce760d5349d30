"""New entities for a trained model, until the next training: candidates by their features alone.

The model is not trained. Its table of encoded entities and its index, where they are, get further rows; neither is
computed anew. N entities of the model, M new ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from mmkgc.components.dataset.modalities import MODALITIES
from mmkgc.components.dataset.modalities.base import Contents
from mmkgc.components.dataset.modalities.files import FileModality
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.encoded_entities import EncodedEntities
from mmkgc.components.kge.entity_encoders.base import STRUCTURE
from mmkgc.components.kge.features import Features
from mmkgc.components.kge.graph import Graph, Vocabulary, no_triples
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.warm_start import begin_from
from mmkgc.components.runtime.errors import Unusable, UserError, shown
from mmkgc.components.runtime.files import atomic_path, read_json
from mmkgc.serving.engine.index import FILE as INDEX
from mmkgc.serving.engine.index import SETTINGS, Index, IndexInfo, searchable
from mmkgc.serving.engine.tables import FILE as TABLES
from mmkgc.serving.engine.tables import read_tables
from mmkgc.serving.engine.unseen import load_encoder


@dataclass(frozen=True)
class NewEntities:
    """Keys, names and types of M entities, and the content of each by modality; ``folder`` holds their files."""

    vocabulary: Vocabulary
    contents: Mapping[str, Contents]
    folder: Path
    types: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.vocabulary)


def extend(source: Path, new: NewEntities, target: Path) -> Bundle:
    """Write the bundle in the folder ``source`` with M more entities to ``target``, atomically.

    Tables and index (as the package step adds them) are extended where ``source`` has them. Raises UserError if an
    entity is in the model already, has content that cannot be encoded, or has none that the model knows.
    """
    earlier = Bundle.load(source)
    bundle = extended(earlier, new)
    with atomic_path(target) as temporary:
        bundle.save(temporary)
        _extend_tables(source, temporary, earlier, bundle, len(new))
        _extend_index(source, temporary, bundle, len(new))
    return bundle


def extended(bundle: Bundle, new: NewEntities) -> Bundle:
    """The bundle with M more entities, which begin as those of a warm start do (``begin_from``)."""
    for key in new.vocabulary.keys:
        if key in bundle.entities.ids:
            raise UserError(f"entity {shown(key)}", "the model has it already", "leave it out; a training updates it")
    features = {
        m: _with_rows(bundle.model.entities.raw(m), *_encoded(m, bundle.encoders.get(m), new))
        for m in bundle.model.entities.modalities
        if m != STRUCTURE
    }
    old = len(bundle.entities)
    described = (
        torch.stack([each.mask[old:] for each in features.values()]).any(0) if features else torch.zeros(len(new))
    )
    if not described.all():
        key = new.vocabulary.keys[int((~described.bool()).nonzero()[0, 0])]
        wanted = " or ".join(MODALITIES[m].source for m in features if m in MODALITIES)
        mend = f"give it content: {wanted}" if wanted else "train the model with features"
        raise UserError(f"entity {shown(key)}", "the model knows nothing by which it could rank it", mend)
    entities = Vocabulary(bundle.entities.keys + new.vocabulary.keys, bundle.entities.names + new.vocabulary.names)
    types = None if bundle.types is None else bundle.types + (new.types or ("",) * len(new))
    graph = Graph(entities, bundle.relations, bundle.train, no_triples(), no_triples(), bundle.known.triples, types,
                  bundle.false)  # fmt: skip
    seen = torch.cat([bundle.model.seen, torch.zeros(len(new), dtype=torch.bool)])
    model = Model(bundle.model.config, len(bundle.relations), features, seen, bundle.train)
    _, squares = begin_from(model, graph, bundle)
    _keep_unseen(model, bundle)
    provenance = bundle.provenance | {"extended_by": list(new.vocabulary.keys)}
    about = {"encoders": bundle.encoders, "calibration": bundle.calibration, "config": bundle.config}
    return Bundle.of(model.requires_grad_(False).eval(), graph, **about, provenance=provenance, squares=squares)


def _keep_unseen(model: Model, earlier: Bundle) -> None:
    """Entities that the earlier model was not trained on keep their rows here, because no training follows."""
    table, theirs = model.entities.structural_table(), earlier.model.entities.structural_table()
    if table is not None and theirs is not None:
        table.data[: len(theirs)] = theirs


def _with_rows(features: Features, vectors: np.ndarray, mask: np.ndarray) -> Features:
    return Features(
        torch.cat([features.vectors, torch.from_numpy(vectors).to(features.vectors)]),
        torch.cat([features.mask, torch.from_numpy(mask)]),
    )


def _encoded(modality: str, spec: dict[str, Any] | None, new: NewEntities) -> tuple[np.ndarray, np.ndarray]:
    """Raw features ``[M, d]`` of the new entities by the model's own encoder, and which have any ``[M]``."""
    if spec is None or modality not in MODALITIES:
        raise UserError(modality, "the model does not say how its features were made", "train it again")
    kind, encoder = MODALITIES[modality], load_encoder(spec)
    contents = new.contents.get(modality) or (kind.nothing,) * len(new)
    vectors, mask = np.zeros((len(new), encoder.dimension), np.float32), np.zeros(len(new), bool)
    for row, (key, name, content) in enumerate(zip(new.vocabulary.keys, new.vocabulary.names, contents, strict=True)):
        items = [_item(kind, item, new.folder, spec, key) for item in kind.items(name, content)]
        for item in items:
            if reason := encoder.refusal(item):
                raise UserError(f"entity {shown(key)}", reason)
        if items:
            vectors[row], mask[row] = kind.pool(list(encoder.encode(items))), True
    return vectors, mask


def _item(kind: Any, item: Any, folder: Path, spec: Mapping[str, Any], key: str) -> Any:
    """What the encoder takes: of a file its decoded bytes, else the item itself."""
    if not isinstance(kind, FileModality):
        return item
    try:
        return kind.decode((folder / item).read_bytes(), spec.get("options", {}))
    except (OSError, Unusable) as error:
        raise UserError(f"entity {shown(key)}", f"{item} cannot be used: {error}", "replace it") from error


def _extend_tables(source: Path, target: Path, earlier: Bundle, bundle: Bundle, count: int) -> None:
    """Add the encoded new entities to the table, if there is one."""
    known = read_tables(source / TABLES, earlier.model)
    if known is None:
        return
    fresh = _encode(bundle, count).tensors()
    tensors = {name: torch.cat([tensor, fresh[name]]) for name, tensor in known.tensors().items()}
    save_file({name: tensor.contiguous() for name, tensor in sorted(tensors.items())}, target / TABLES)


def _extend_index(source: Path, target: Path, bundle: Bundle, count: int) -> None:
    """Add the new entities to the index, if there is one; its cells and codes stay as they were learnt."""
    vectors = searchable(bundle.model.freeze()) if (source / INDEX).exists() else None
    if vectors is None:
        return
    import faiss

    info = IndexInfo(**read_json(source / SETTINGS))
    index = faiss.read_index(str(source / INDEX))  # not mapped: a mapped one takes no rows
    index.add(vectors[-count:].contiguous().numpy())
    Index(bundle.model, index, info).save(target)


@torch.no_grad()
def _encode(bundle: Bundle, count: int) -> EncodedEntities:
    """The last ``count`` entities, encoded and fused."""
    ids = torch.arange(len(bundle.entities) - count, len(bundle.entities))
    return bundle.model.encode([ids])
