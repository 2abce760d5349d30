"""A saved model with all that is needed to use it, as safetensors and JSON; the same model gives the same bytes.

Files: ``model.safetensors`` (weights, raw features and their masks), ``triples.safetensors`` (train, known),
``vocabulary.json`` (entities, relations, types), ``bundle.json`` (config, encoders, calibration, provenance, and the
SHA-256 of the other files), and after a training by Adagrad ``squares.safetensors``, with which a warm start goes on.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mmkgc.components.kge.entity_encoders.base import STRUCTURE
from mmkgc.components.kge.features import Features
from mmkgc.components.kge.graph import Graph, KnownTriples, Vocabulary, no_triples
from mmkgc.components.kge.model import Model, ModelConfig
from mmkgc.components.runtime import digests
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.files import atomic_path, read_json, write_json

FORMAT = 3
SQUARES = "squares.safetensors"
FEATURES = "features."  # prefix of a modality's name, for its raw features
OLD = "entities.features."  # the same prefix up to format 2
RAW = {"feature_scale": "raw"}  # setting of all bundles of format 1, which do not record it


@dataclass
class Bundle:
    """A trained model with its vocabularies and known triples.

    ``train``: the triples that it was fitted on, int64 ``[T, 3]``; ``known``: all true triples of all splits (the
    filter); ``false``: triples that are known to be false, ``[F, 3]``; ``encoders``: the specification of the encoder
    of each modality, from which new entities get features; ``config``: the training's configuration; ``provenance``:
    what the bundle was made from; ``squares``: the squared gradients that Adagrad has summed, by parameter, of a matrix
    the mean of each row (none after other optimizers).
    """

    model: Model
    entities: Vocabulary
    relations: Vocabulary
    types: tuple[str, ...] | None
    train: Tensor
    known: KnownTriples
    encoders: dict[str, dict[str, Any]] = field(default_factory=dict)
    calibration: dict[str, Any] | None = None
    config: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    false: Tensor = field(default_factory=no_triples)
    squares: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Model, graph: Graph, **rest: Any) -> "Bundle":
        """The bundle of a model trained on ``graph``."""
        known = KnownTriples(graph.all_triples, len(graph.entities), len(graph.relations))
        return cls(model, graph.entities, graph.relations, graph.types, graph.train, known, **rest, false=graph.false)

    def save(self, folder: Path) -> None:
        """Write the bundle to ``folder`` atomically."""
        with atomic_path(folder) as temporary:
            temporary.mkdir()
            save_file(_tensors(self.model), temporary / "model.safetensors")
            triples = {"train": self.train, "known": self.known.triples}
            if len(self.false):
                triples["false"] = self.false
            save_file(
                {name: ids.to("cpu", torch.int32) for name, ids in triples.items()}, temporary / "triples.safetensors"
            )
            if self.squares:
                squares = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(self.squares.items())}
                save_file(squares, temporary / SQUARES)
            write_json(temporary / "vocabulary.json", self._vocabulary())
            saved = {path.name: digests.of_file(path) for path in sorted(temporary.iterdir())}
            write_json(temporary / "bundle.json", self._description() | {"files": saved})

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> "Bundle":
        """Read a bundle; on the CPU its tensors are memory-mapped, so several processes share them.

        Raises ``UserError`` if the folder is no bundle, has an unsupported format, or was changed after saving.
        """
        if not (folder / "bundle.json").is_file():
            raise UserError(folder, "this folder is no model bundle", "give the folder that `train` published")
        description = _verified(folder)
        vocabulary = read_json(folder / "vocabulary.json")
        if description["format"] not in range(1, FORMAT + 1):
            raise UserError(folder, f"bundle format {description['format']} is not {FORMAT}", "train the model again")
        entities, relations = (_read_vocabulary(vocabulary[name]) for name in ("entities", "relations"))
        triples = load_file(folder / "triples.safetensors", device)
        types = vocabulary["types"]
        return cls(
            model=_model(
                ModelConfig(**RAW | description["model"]),
                _renamed(load_file(folder / "model.safetensors", device)),
                len(relations),
                triples["train"].long(),
            ),
            entities=entities,
            relations=relations,
            types=tuple(types) if types is not None else None,
            train=triples["train"].long(),
            known=KnownTriples(triples["known"].long(), len(entities), len(relations)),
            **{name: description[name] for name in ("encoders", "calibration", "config", "provenance")},
            false=triples["false"].long() if "false" in triples else no_triples(),
            squares=load_file(folder / SQUARES, device) if (folder / SQUARES).is_file() else {},
        )

    def _vocabulary(self) -> dict[str, Any]:
        return {
            "entities": {"keys": self.entities.keys, "names": self.entities.names},
            "relations": {"keys": self.relations.keys, "names": self.relations.names},
            "types": self.types,
        }

    def _description(self) -> dict[str, Any]:
        described = {
            "format": FORMAT,
            "model": self.model.config.model_dump(),
            "encoders": self.encoders,
            "calibration": self.calibration,
            "config": self.config,
            "provenance": self.provenance,
        }
        return json.loads(json.dumps(described, sort_keys=True))


def _verified(folder: Path) -> dict[str, Any]:
    """Read ``bundle.json`` and verify that no file was changed after saving.

    Files are compared with the digests that it lists (older bundles list none), and with the digest in the name of the
    folder, if it has its published name.
    """
    mend = "fetch or train it again"
    if re.fullmatch("[0-9a-f]{64}", folder.resolve().name) and digests.of_folder(folder) != folder.resolve().name:
        raise UserError(folder, "this bundle was changed after it was published", mend)
    try:
        description = read_json(folder / "bundle.json")
        listed = description.get("files", {})
        changed = [name for name, digest in listed.items() if digests.of_file(folder / name) != digest]
    except (ValueError, AttributeError, FileNotFoundError) as error:
        raise UserError(folder, f"this bundle is damaged ({error})", mend) from error
    if changed:
        raise UserError(folder / changed[0], "this file of the bundle was changed after it was saved", mend)
    return description


def _tensors(model: Model) -> dict[str, Tensor]:
    """The weights and the raw features with masks; fine-tuned features, which are also weights, are stored once."""
    state = model.state_dict() | {"seen": model.seen}
    for m in (m for m in model.entities.modalities if m != STRUCTURE):
        raw = model.entities.raw(m)
        state = {name: tensor for name, tensor in state.items() if not name.endswith(f".{FEATURES}{m}")}
        state |= {f"{FEATURES}{m}": raw.vectors, f"{FEATURES}{m}_mask": raw.mask}
    return {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(state.items())}


def _renamed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of any format under current names; up to format 2 the encoder held features and ``seen``."""
    if "seen" in tensors:
        return tensors
    features = {
        f"{FEATURES}{name.removeprefix(OLD)}": tensor for name, tensor in tensors.items() if name.startswith(OLD)
    }
    return tensors | features | {"seen": tensors["entities.has_structure"]}


def _model(config: ModelConfig, tensors: Mapping[str, Tensor], n_relations: int, triples: Tensor) -> Model:
    """The model with loaded tensors: built on the meta device, then filled."""
    names = [name.removeprefix(FEATURES).removesuffix("_mask") for name in tensors if name.startswith(FEATURES)]
    features = {m: Features(tensors[FEATURES + m], tensors[f"{FEATURES}{m}_mask"]) for m in dict.fromkeys(names)}
    with torch.device("meta"):
        model = Model(config, n_relations, features, tensors["seen"], triples)
    state = {name: tensors.get(name, tensors.get(FEATURES + name.rpartition(".")[2])) for name in model.state_dict()}
    model.load_state_dict(state, assign=True)
    return model.requires_grad_(False).eval()


def _read_vocabulary(columns: Mapping[str, list[str]]) -> Vocabulary:
    return Vocabulary(tuple(columns["keys"]), tuple(columns["names"]))
