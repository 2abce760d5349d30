"""Warm start: a model of a changed graph begins with what a trained model has learned.

Entities and relations are matched by key, because ids change when the graph grows or shrinks. N entities and R
relations of the new model, e width of a structural vector, F columns of all raw features.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.entity_encoders.base import STRUCTURE
from mmkgc.components.kge.features import Features
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL, Graph, Vocabulary, no_triples
from mmkgc.components.kge.model import Model, ModelConfig
from mmkgc.components.kge.tensors import slices
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.nouns import counted

DROPOUTS = ("structure_dropout", "modality_dropout")
PENALTIES = (1e-4, 1e-3, 0.01, 0.1, 1.0, 10.0, 100.0)  # of the ridge regression, in units of the features' mean square
HELD_OUT = 10  # one of so many known entities chooses the penalty
ROWS_AT_ONCE = 65_536
LEAST = 20  # known entities for a regression


@dataclass(frozen=True)
class Growth:
    """What a warm start found: entities and relations that are kept, new, and no longer in the graph.

    ``by_features``: new entities whose structural vector was predicted from their features; ``anew``: names of tensors
    that have another shape than in the earlier model, and so begin with new values.
    """

    entities: int
    new_entities: int
    removed_entities: int
    by_features: int
    relations: int
    new_relations: int
    removed_relations: int
    anew: tuple[str, ...] = ()

    def __str__(self) -> str:
        rest = f"; these begin anew: {', '.join(self.anew)}" if self.anew else ""
        return (
            f"{counted(self.entities, 'entity')} and {counted(self.relations, 'relation')} keep their vectors, "
            f"new: {self.new_entities:,} and {self.new_relations:,}, "
            f"gone: {self.removed_entities:,} and {self.removed_relations:,}{rest}"
        )

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


class Matched(NamedTuple):
    """Ids of the same keys in the new and in the earlier vocabulary, each ``[M]``, and the sizes of both."""

    new: Tensor
    old: Tensor
    size: int
    old_size: int

    @classmethod
    def of(cls, new: Vocabulary, old: Vocabulary) -> "Matched":
        """The keys that both vocabularies have, in the order of the new one."""
        pairs = [(index, old.ids[key]) for index, key in enumerate(new.keys) if key in old.ids]
        both = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2)
        return cls(both[:, 0], both[:, 1], len(new), len(old))

    def only(self, chosen: Tensor) -> "Matched":
        """The pairs for which ``chosen`` ``[M]`` is true."""
        return self._replace(new=self.new[chosen], old=self.old[chosen])


class Axis(NamedTuple):
    """The dimension of a tensor that has ``blocks`` rows for each entity (or relation), block after block."""

    kind: str
    dimension: int
    blocks: int


def difference(config: ModelConfig, start: Bundle) -> str | None:
    """How the model of ``config`` differs from the earlier one; None if it can go on from it.

    The shares of dropout may differ, but not whether structure is dropped at all, since that adds a parameter.
    """
    wanted, had = config.model_dump(), start.model.config.model_dump()
    same = {key: wanted[key] == had[key] for key in wanted if key not in ("modalities", *DROPOUTS)}
    same["structure_dropout"] = (wanted["structure_dropout"] > 0) == (had["structure_dropout"] > 0)
    for key in (key for key, alike in same.items() if not alike):
        return f"it has train.model.{key} = {_told(had[key])}, and this recipe {_told(wanted[key])}"
    return None


def _told(value: Any) -> str:
    """A value in a message: of a part the name, with its hyper-parameters."""
    if isinstance(value, Mapping) and "name" in value:
        rest = ", ".join(f"{key} {one}" for key, one in value.items() if key != "name")
        return f"{value['name']} ({rest})" if rest else str(value["name"])
    return str(value)


class Begun(NamedTuple):
    """What a warm start found, and Adagrad's ``squares`` of the new model's parameters (see ``Bundle``)."""

    growth: Growth
    squares: dict[str, Tensor]


@torch.no_grad()
def begin_from(model: Model, graph: Graph, start: Bundle) -> Begun:
    """Fill a new ``model`` of ``graph`` with the values of an earlier one, in place.

    Entities that the earlier model was trained on, and its relations, keep their rows, found by key; everything that
    belongs to no entity and no relation is copied whole. A new entity's structural vector is

    - the vector that stands for a missing structure, if the model was trained with structure dropout (predicted from
      its features, if the model does that). Its first scores are then those that it had by its features alone;
    - else, if it has features, their prediction by a ridge regression from raw features to the structural vectors of
      the entities that are kept;
    - else the random one of a first training.

    New relations begin with random vectors. Rows keep the squared gradients that Adagrad has summed, so their steps are
    as short as at the end of the earlier training; new rows have none, and learn fast. The state of other optimizers
    and what a negative sampler has learned are not part of a bundle, and begin anew. Raises UserError if the models
    have features of other modalities.
    """
    ours, theirs = (sorted(each.entities.modalities) for each in (model, start.model))
    if ours != theirs:
        what = f"it has vectors of {', '.join(theirs)}, and this training {', '.join(ours)}"
        raise UserError("train.start", what, "extract the same modalities, or leave out train.start")
    entities = Matched.of(graph.entities, start.entities)
    relations = Matched.of(graph.relations, start.relations)
    trained = entities.only(start.model.seen[entities.old])
    matched = {"entities": trained, "relations": relations}
    anew = []
    earlier = start.model.state_dict()
    axes = varying_axes(model)
    for name, tensor in model.state_dict().items():
        old = earlier.get(name)
        if old is None or not _copied(tensor, old, axes[name], matched):
            anew.append(name)
    _keep_random_features(model, start, trained)
    predicted = _begin_new_entities(model, start, trained)
    squares = {}
    for name, parameter in model.named_parameters():
        if name in start.squares:
            axis, by_row = axes[name], parameter.dim() == 2
            squares[name] = torch.zeros(parameter.shape[:1] if by_row else parameter.shape)
            _copied(squares[name], start.squares[name], None if by_row and axis and axis.dimension else axis, matched)
    growth = Growth(
        entities=len(trained.new),
        new_entities=len(graph.entities) - len(trained.new),
        removed_entities=len(start.entities) - len(entities.new),
        by_features=predicted,
        relations=len(relations.new),
        new_relations=len(graph.relations) - len(relations.new),
        removed_relations=len(start.relations) - len(relations.new),
        anew=tuple(anew),
    )
    return Begun(growth, squares)


def trained_on(triples: Tensor, graph: Graph, start: Bundle) -> Tensor:
    """Which ``triples`` ``[T, 3]`` of ``graph`` the earlier model was trained on, bool ``[T]``."""
    entities, relations = (
        _ids(new, old) for new, old in ((graph.entities, start.entities), (graph.relations, start.relations))
    )
    theirs = torch.stack([entities[triples[:, HEAD]], relations[triples[:, RELATION]], entities[triples[:, TAIL]]], 1)
    possible = (theirs >= 0).all(1)
    sizes = len(start.relations), len(start.entities)
    found = torch.zeros(len(triples), dtype=torch.bool)
    found[possible] = torch.isin(_codes(theirs[possible], *sizes), _codes(start.train, *sizes))
    return found


def _codes(triples: Tensor, n_relations: int, n_entities: int) -> Tensor:
    heads, relations, tails = triples.unbind(1)
    return (heads * n_relations + relations) * n_entities + tails


def _ids(new: Vocabulary, old: Vocabulary) -> Tensor:
    """Id in ``old`` of each key of ``new``; −1 if it has none."""
    return torch.tensor([old.ids.get(key, -1) for key in new.keys], dtype=torch.long)


def varying_axes(model: Model) -> dict[str, Axis | None]:
    """Which dimension of each tensor of the model's state depends on the number of entities or relations.

    Found by comparing the shapes of three models on the meta device, of (5, 3), (6, 3) and (5, 4) entities and
    relations, so that a part of the model need not declare it.
    """
    base, *others = (_shapes(model, *sizes) for sizes in ((5, 3), (6, 3), (5, 4)))
    found: dict[str, Axis | None] = {}
    for name, shape in base.items():
        changed = [
            Axis(kind, dimension, other[name][dimension] - size)
            for kind, other in zip(("entities", "relations"), others, strict=True)
            for dimension, size in enumerate(shape)
            if other[name][dimension] != size
        ]
        assert len(changed) <= 1, f"{name} depends on the numbers of entities and relations in more than one dimension"
        found[name] = changed[0] if changed else None
    return found


def _shapes(model: Model, n_entities: int, n_relations: int) -> dict[str, torch.Size]:
    """Shapes of the state of a model like ``model`` with other numbers of entities and relations."""
    features = {}
    for m in model.entities.modalities:
        if m != STRUCTURE:
            vectors = torch.zeros(n_entities, model.entities.raw(m).dimension)
            features[m] = Features(vectors, torch.ones(n_entities, dtype=torch.bool))
    seen, triples = torch.ones(n_entities, dtype=torch.bool), no_triples()
    with torch.device("meta"):
        like = Model(model.config, n_relations, features, seen, triples)
    return {name: tensor.shape for name, tensor in like.state_dict().items()}


def _copied(tensor: Tensor, old: Tensor, axis: Axis | None, matched: Mapping[str, Matched]) -> bool:
    """Copy the rows of ``old`` that are kept into ``tensor``; False if the shapes do not allow it."""
    if axis is None:
        if tensor.shape != old.shape:
            return False
        tensor.copy_(old)
        return True
    pair = matched[axis.kind]
    rest = tensor.shape[axis.dimension] - axis.blocks * pair.size  # rows that belong to no entity and no relation
    widths = ([*each.shape[: axis.dimension], *each.shape[axis.dimension + 1 :]] for each in (tensor, old))
    if next(widths) != next(widths) or old.shape[axis.dimension] != axis.blocks * pair.old_size + rest:
        return False
    others = torch.arange(rest)
    new_rows = [block * pair.size + pair.new for block in range(axis.blocks)]
    old_rows = [block * pair.old_size + pair.old for block in range(axis.blocks)]
    new_rows.append(axis.blocks * pair.size + others)
    old_rows.append(axis.blocks * pair.old_size + others)
    tensor.index_copy_(axis.dimension, torch.cat(new_rows), old.index_select(axis.dimension, torch.cat(old_rows)))
    return True


def _keep_random_features(model: Model, start: Bundle, kept: Matched) -> None:
    """With ``missing: random``, an entity that lacks a modality keeps the random features that it was trained with."""
    if model.config.missing != "random":
        return
    for m in model.entities.modalities:
        if m != STRUCTURE:
            ours, theirs = model.entities.raw(m), start.model.entities.raw(m)
            lacking = ~ours.mask[kept.new] & ~theirs.mask[kept.old]
            if ours.dimension == theirs.dimension:
                ours.vectors.data[kept.new[lacking]] = theirs.vectors[kept.old[lacking]]


def _begin_new_entities(model: Model, start: Bundle, kept: Matched) -> int:
    """Set the structural vectors of all entities that are not ``kept``; the number that was predicted from features."""
    table = model.entities.structural_table()
    is_new = torch.ones(kept.size, dtype=torch.bool)
    is_new[kept.new] = False
    new = is_new.nonzero().squeeze(1)
    if table is None or not len(new):
        return 0
    raw = [model.entities.raw(m) for m in model.entities.modalities if m != STRUCTURE]
    described = torch.stack([features.mask[new] for features in raw]).any(0) if raw else torch.zeros(0)
    if model.config.structure_dropout:
        shown = {m: model.entities.raw(m).vectors[new] for m in model.entities.modalities if m != STRUCTURE}
        if shown:
            table.data[new] = model.entities.encode_new(shown).vectors[STRUCTURE]
        return int(described.sum()) if model.config.missing_structure == "predicted" else 0
    if not described.any() or len(kept.new) < LEAST:
        return 0
    new = new[described]
    table.data[new] = predicted_structure(raw, kept.new, table.data[kept.new], new).to(table.dtype)
    return len(new)


def predicted_structure(raw: list[Features], known: Tensor, structure: Tensor, asked: Tensor) -> Tensor:
    """Structural vectors ``[A, e]`` of the entities ``asked``, predicted from their raw features.

    The prediction is S ≈ X W, with W = (XᵀX + λ I)⁻¹ XᵀS over the ``known`` entities and their vectors ``structure``
    ``[K, e]``. A row of X holds the features, whether each modality is there, and a one. λ is the one of ``PENALTIES``
    with the least squared error on a tenth of the known entities, which the fit then leaves out.
    """
    held_out = torch.arange(len(known)) % HELD_OUT == 0
    fitted, tried = known[~held_out], known[held_out]
    width = sum(features.dimension + 1 for features in raw) + 1
    gram = torch.zeros(width, width, dtype=torch.double)
    products = torch.zeros(width, structure.shape[1], dtype=torch.double)
    for rows, vectors in zip(*(_blocks(each) for each in (fitted, structure[~held_out])), strict=True):
        design = _design(raw, rows)
        gram, products = gram + design.T @ design, products + design.T @ vectors.double()
    unit = gram.diagonal().mean()
    weights = [torch.linalg.solve(gram + penalty * unit * torch.eye(width), products) for penalty in PENALTIES]
    checked = _design(raw, tried[:ROWS_AT_ONCE])
    truth = structure[held_out][:ROWS_AT_ONCE].double()
    best = min(weights, key=lambda each: float((checked @ each - truth).square().sum()))
    return torch.cat([_design(raw, rows) @ best for rows in _blocks(asked)])


def _blocks(rows: Tensor) -> Iterator[Tensor]:
    return (rows[part] for part in slices(len(rows), ROWS_AT_ONCE))


def _design(raw: list[Features], rows: Tensor) -> Tensor:
    """Raw features ``[B, F + M + 1]`` of the M modalities as doubles, the masks, and a one."""
    columns = [features.vectors[rows].detach().double() * features.mask[rows].unsqueeze(1) for features in raw]
    masks = [features.mask[rows].double().unsqueeze(1) for features in raw]
    return torch.cat([*columns, *masks, torch.ones(len(rows), 1, dtype=torch.double)], dim=1)
