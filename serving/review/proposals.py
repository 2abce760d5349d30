"""Triples that a model proposes: a Parquet file, best first, and access to it for reviewers."""

import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

from mmkgc.components.runtime.errors import UserError
from mmkgc.feature_store.storage import Storage
from mmkgc.serving.api.protocol import Item, ModelName, TripleItems
from mmkgc.serving.review.decisions import Decisions, Status, Triple

KIND, FILE, SUMMARY = "proposals", "proposals.parquet", "summary.json"
PARTS = ("head", "relation", "tail")

_SUPPORT = pa.struct([(name, pa.string()) for name in ("head", "head_name", "tail", "tail_name")])
SCHEMA = pa.schema(
    [
        ("id", pa.string()),  # of the triple: the same for every model
        *((name, pa.string()) for part in PARTS for name in (part, f"{part}_name")),
        ("rank", pa.int32()),  # among the proposals of the relation
        ("score", pa.float32()),
        ("probability", pa.float64()),  # calibrated, or null
        ("shares", pa.map_(pa.string(), pa.float32())),  # modality weights, or null
        ("support", pa.list_(_SUPPORT)),  # the most similar train triples, of the same relation
        *((name, pa.string()) for name in ("model", "version", "bundle")),
    ]
)


def find(storage: Storage, bundle: str) -> Path | None:
    """Folder of the newest proposals in the store by the bundle with this digest; ``None`` if there are none."""
    summaries = [file for file in storage.files(f"{KIND}/") if file.path.endswith(f"/{SUMMARY}")]
    for file in sorted(summaries, key=lambda file: file.modified, reverse=True):
        folder = storage.uri(file.path.removesuffix(f"/{SUMMARY}"))
        try:
            if json.loads(storage.read(file.path))["bundle"] == bundle:
                return storage.fetch(folder)
        except (ValueError, KeyError, TypeError, UserError):
            print(f"warning: {folder} is damaged and is left out; `mmkgc propose` makes it anew", file=sys.stderr)
    return None


class Proposal(TripleItems):
    """A missing triple; ``rank`` is its place among the proposals of its relation."""

    id: str
    rank: int
    score: float
    probability: float | None
    shares: dict[str, float] | None
    support: list[TripleItems]
    status: Status


class RelationReview(Item):
    """A relation, and how many of its proposals are open, accepted and rejected."""

    open: int
    accepted: int
    rejected: int


class ProposalPage(BaseModel):
    """Some proposals, best first, out of ``total`` that match; ``model`` made them: null where there are none."""

    model: ModelName | None
    total: int
    relations: list[RelationReview]
    proposals: list[Proposal]


NOTHING = ProposalPage(model=None, total=0, relations=[], proposals=[])


class Proposals:
    """A file of proposals and the decisions on them (by default those of its model under ``$MMKGC_HOME``).

    ``path``: the Parquet file, or the folder that ``propose`` published. Raises ``UserError`` if it is neither.
    """

    def __init__(self, path: Path, decisions: Decisions | None = None) -> None:
        self.table = _read(path / FILE if path.is_dir() else path)
        columns = (self.table[part].to_pylist() for part in PARTS)
        self.triples: list[Triple] = list(zip(*columns, strict=True))
        self.places = {identifier: place for place, identifier in enumerate(self.table["id"].to_pylist())}
        names = dict(zip(self.table["relation"].to_pylist(), self.table["relation_name"].to_pylist(), strict=True))
        self.relations = sorted(names.items(), key=lambda item: item[1])
        first = self.table.slice(0, 1).to_pylist()
        self.model = ModelName(name=first[0]["model"], version=first[0]["version"]) if first else None
        self.bundle = first[0]["bundle"] if first else None
        self.decisions = decisions or Decisions.of_model(self.model.name if self.model else "mmkgc")

    def page(self, relation: str | None, status: Status | None, limit: int, offset: int) -> ProposalPage:
        """Proposals of a relation and status (``None``: any), at most ``limit`` of them from ``offset`` on."""
        self.decisions.refresh()
        found = [self.decisions.status(triple) for triple in self.triples]
        counts = Counter((triple[1], state) for triple, state in zip(self.triples, found, strict=True))
        places = [
            place
            for place, (triple, state) in enumerate(zip(self.triples, found, strict=True))
            if relation in (None, triple[1]) and status in (None, state)
        ]
        shown = places[offset : offset + limit]
        rows = self.table.take(pa.array(shown, pa.int64())).to_pylist()
        return ProposalPage(
            model=self.model,
            total=len(places),
            relations=[
                RelationReview(key=key, name=name, **{state.value: counts[key, state] for state in Status})
                for key, name in self.relations
            ],
            proposals=[_proposal(row, found[place]) for row, place in zip(rows, shown, strict=True)],
        )

    def decide(self, identifier: str, status: Status, reviewer: int) -> bool:
        """Store a decision; returns False if no proposal has this id. ``reviewer``: number of the API key."""
        if identifier not in self.places:
            return False
        made_by = {"model": self.model.name, "version": self.model.version, "bundle": self.bundle} if self.model else {}
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.decisions.append(
            self.triples[self.places[identifier]], status, made_by | {"reviewer": reviewer, "at": when}
        )
        return True


def _read(file: Path) -> pa.Table:
    try:
        return pq.read_table(file, schema=SCHEMA)
    except (OSError, pa.ArrowException) as error:
        raise UserError(file, "this is no file of proposals", "make one with `mmkgc propose --out FILE`") from error


def _proposal(row: Mapping[str, Any], status: Status) -> Proposal:
    relation = _item(row, "relation")
    support = [
        TripleItems(head=_item(near, "head"), relation=relation, tail=_item(near, "tail")) for near in row["support"]
    ]
    return Proposal(
        **{part: _item(row, part) for part in PARTS},
        **{name: row[name] for name in ("id", "rank", "score", "probability")},
        shares=row["shares"] and dict(row["shares"]),
        support=support,
        status=status,
    )


def _item(row: Mapping[str, Any], part: str) -> Item:
    return Item(key=row[part], name=row[f"{part}_name"])
