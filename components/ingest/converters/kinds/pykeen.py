"""Datasets of PyKEEN: by name, where PyKEEN is installed, or as a folder that it wrote."""

from collections.abc import Mapping
from pathlib import Path

from mmkgc.components.ingest.converters.base import Converter, Wishes
from mmkgc.components.ingest.converters.cells import delimited
from mmkgc.components.ingest.converters.draft import Draft
from mmkgc.components.kge.vocabulary import PARTS
from mmkgc.components.runtime.errors import UserError, did_you_mean
from mmkgc.components.runtime.extras import required

MARK = "pykeen:"
SPLITS = {"training": "train", "validation": "valid", "testing": "test"}
TRIPLES, ENTITIES, RELATIONS = "numeric_triples.tsv.gz", "entity_to_id.tsv.gz", "relation_to_id.tsv.gz"


class PyKEEN(Converter):
    """``pykeen:NAME``, or a folder of ``Dataset.to_directory_binary``; its tables are read, its pickles are not."""

    rank = 5
    needs = "a dataset of PyKEEN (pykeen:NAME, or its folder with training, validation and testing)"

    def recognises(self, source: Path, wishes: Wishes) -> bool:
        """Whether it is such a name, or the folder of train triples is there."""
        return str(source).startswith(MARK) or (source / "training" / TRIPLES).is_file()

    def read(self, source: Path, wishes: Wishes, name: str) -> Draft:
        """Read the triples of every split. A named dataset is fetched by PyKEEN, if it does not bring it along."""
        draft = Draft(name, str(source))
        if str(source).startswith(MARK):
            _named(draft, str(source).removeprefix(MARK))
        else:
            _folder(draft, source)
        return draft


def _named(draft: Draft, name: str) -> None:
    with required():
        from pykeen.datasets import dataset_resolver, get_dataset
        from pykeen.triples import TriplesFactory
    if name.lower() not in dataset_resolver.options:
        raise UserError(
            f"{MARK}{name}", "no such dataset of PyKEEN", did_you_mean(name.lower(), dataset_resolver.options)
        )
    try:
        dataset = get_dataset(dataset=name)
        parts = {"train": dataset.training, "valid": dataset.validation, "test": dataset.testing}
        labelled = dataset.training
        assert isinstance(labelled, TriplesFactory)
    except Exception as error:  # what downloads and readers raise
        what = f"PyKEEN cannot load it ({type(error).__name__}: {error})"
        raise UserError(f"{MARK}{name}", what, "download it, and give its folder") from error
    _vocabulary(draft, labelled.entity_to_id, labelled.relation_to_id)
    for split, factory in parts.items():
        if factory is not None:
            draft.extend(split, factory.mapped_triples.numpy())


def _folder(draft: Draft, source: Path) -> None:
    training = source / "training"
    _vocabulary(draft, _ids(training / ENTITIES), _ids(training / RELATIONS))
    sizes = len(draft.entities), len(draft.relations), len(draft.entities)
    for folder, split in SPLITS.items():
        path = source / folder / TRIPLES
        for row in delimited(path) if path.is_file() else ():
            if row.cells[:3] == list(PARTS):
                continue
            ids = [int(cell) if cell.isdecimal() else -1 for cell in row.cells]
            if len(ids) != 3 or not all(0 <= one < size for one, size in zip(ids, sizes, strict=True)):
                raise UserError(f"{path}, line {row.line}", "these are no three ids", "write the dataset again")
            draft.add(split, *ids)


def _vocabulary(draft: Draft, entities: Mapping[str, int], relations: Mapping[str, int]) -> None:
    for key in sorted(entities, key=lambda key: entities[key]):
        draft.entity(key)
    for key in sorted(relations, key=lambda key: relations[key]):
        draft.relation(key)


def _ids(path: Path) -> dict[str, int]:
    """Id by label of a vocabulary, whose columns are id and label, in this order or the other."""
    rows = [row.cells for row in delimited(path)] if path.is_file() else []
    if not rows or sorted(rows[0]) != ["id", "label"]:
        raise UserError(path, "this is no vocabulary of PyKEEN", "it has the columns id and label")
    number, label = rows[0].index("id"), rows[0].index("label")
    found = {row[label]: int(row[number]) for row in rows[1:] if len(row) == 2 and row[number].isdecimal()}
    if sorted(found.values()) != list(range(len(rows) - 1)):
        raise UserError(path, "the ids do not count from 0 upwards", "write the dataset again")
    return found
