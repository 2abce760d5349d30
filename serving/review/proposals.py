"""Triples that a model proposes: a Parquet file, best first, and access to it for reviewers."""

import json
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

from mmkgc.components.runtime.errors import UserError
from mmkgc.feature_store.storage import Storage
from mmkgc.serving.api.protocol import Item, ModelName, TripleItems
from mmkgc.serving.review.decisions import Decisions, Status, Triple
from mmkgc.serving.review.identity import identify

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
    """A missing triple; ``rank`` is its place among the proposals of its relation.

    ``by``, ``note`` and ``instead`` (the entity that a reviewer named as the right one) are of the last decision.
    """

    id: str
    rank: int
    score: float
    probability: float | None
    shares: dict[str, float] | None
    support: list[TripleItems]
    status: Status
    by: str | None = None
    note: str | None = None
    instead: Item | None = None


class HeldOut(BaseModel):
    """Of ``kept`` proposals that were made without the held-out facts, ``found`` are held-out facts."""

    found: int
    kept: int


class RelationReview(Item):
    """A relation, how many of its proposals have each status, and how good its proposals were on held-out facts."""

    open: int
    accepted: int
    rejected: int
    unsure: int
    held_out: HeldOut | None


class StatedFact(TripleItems):
    """A fact that a reviewer stated: of their own, or as the right one in the place of a proposal."""

    id: str
    by: str | None
    note: str | None
    probability: float | None


class ProposalPage(BaseModel):
    """Some proposals out of ``total`` that match; ``model`` made them: null where there are none.

    ``missing``: the share of its facts that the graph is thought to lack, for which probabilities hold.
    """

    model: ModelName | None
    total: int
    missing: float | None
    relations: list[RelationReview]
    proposals: list[Proposal]
    stated: list[StatedFact]


NOTHING = ProposalPage(model=None, total=0, missing=None, relations=[], proposals=[], stated=[])
Sort = Literal["probability", "score", "head", "tail", "relation"]


class Wanted(NamedTuple):
    """Which proposals are wanted, and in which order: most probable first, or by name.

    ``text`` is a part of the name or key of head, relation or tail, in any case.
    """

    relation: str | None = None
    status: Status | None = None
    text: str = ""
    at_least: float = 0.0
    sort: Sort = "probability"


class Proposals:
    """A file of proposals and the decisions on them (by default those of its model under ``$MMKGC_HOME``).

    ``path``: the Parquet file, or the folder that ``propose`` published. Raises ``UserError`` if it is neither.
    """

    def __init__(self, path: Path, decisions: Decisions | None = None) -> None:
        file = path / FILE if path.is_dir() else path
        self.table, self.summary = _read(file), _summary(file.with_name(SUMMARY))
        columns = (self.table[part].to_pylist() for part in PARTS)
        self.triples: list[Triple] = list(zip(*columns, strict=True))
        names = (self.table[f"{part}_name"].to_pylist() for part in PARTS)
        self.names: list[Triple] = list(zip(*names, strict=True))
        self.texts = [
            "\n".join((*named, *keys)).casefold() for named, keys in zip(self.names, self.triples, strict=True)
        ]
        self.chances = [chance or 0.0 for chance in self.table["probability"].to_pylist()]
        self.places = {identifier: place for place, identifier in enumerate(self.table["id"].to_pylist())}
        relations = {keys[1]: named[1] for keys, named in zip(self.triples, self.names, strict=True)}
        self.relations = sorted(relations.items(), key=lambda item: item[1])
        first = self.table.slice(0, 1).to_pylist()
        self.model = ModelName(name=first[0]["model"], version=first[0]["version"]) if first else None
        self.bundle = first[0]["bundle"] if first else None
        self.decisions = decisions or Decisions.of_model(self.model.name if self.model else "mmkgc")

    def page(self, wanted: Wanted, limit: int, offset: int) -> ProposalPage:
        """The wanted proposals, at most ``limit`` of them from ``offset`` on."""
        self.decisions.refresh()
        found = [self.decisions.status(triple) for triple in self.triples]
        counts = Counter((triple[1], state) for triple, state in zip(self.triples, found, strict=True))
        places = self._sorted([place for place in range(len(found)) if self._fits(wanted, place, found[place])], wanted)
        shown = places[offset : offset + limit]
        rows = self.table.take(pa.array(shown, pa.int64())).to_pylist()
        precision = (self.summary.get("hide_and_seek") or {"relations": {}})["relations"]
        return ProposalPage(
            model=self.model,
            total=len(places),
            missing=self.summary.get("missing"),
            relations=[
                RelationReview(
                    key=key,
                    name=name,
                    held_out=precision.get(key),
                    **{state.value: counts[key, state] for state in Status},
                )
                for key, name in self.relations
            ],
            proposals=[
                _proposal(row, found[place], self.decisions.latest.get(self.triples[place], {}))
                for row, place in zip(rows, shown, strict=True)
            ],
            stated=[_stated(one) for one in list(self.decisions.latest.values()) if _is_stated(one)],
        )

    def decide(
        self, identifiers: Sequence[str], status: Status, reviewer: int, about: Mapping[str, Any] | None = None
    ) -> int:
        """Store a decision on the proposals with these ids; returns how many there are.

        ``reviewer``: number of the API key; ``about``: further fields of the decision (``by``, ``note``, ``instead``).
        A decision that is taken back takes back the right entity that came with it.
        """
        self.decisions.refresh()
        places = [self.places[identifier] for identifier in identifiers if identifier in self.places]
        for place in places:
            triple = self.triples[place]
            stated = tuple(self.decisions.latest.get(triple, {}).get("instead_triple") or ())
            if _is_stated(self.decisions.latest.get(stated, {})):
                self.decisions.append(stated, Status.OPEN, self._made(reviewer))
            chance = self.table["probability"][place].as_py()
            more = {"probability": chance, "score": self.table["score"][place].as_py()} | dict(about or {})
            self.decisions.append(triple, status, self._made(reviewer) | self._proposed() | more)
        return len(places)

    def state(self, triple: Triple, reviewer: int, about: Mapping[str, Any], status: Status = Status.ACCEPTED) -> str:
        """Store a fact that a reviewer states; returns its id."""
        self.decisions.append(triple, status, self._made(reviewer) | {"stated": True} | dict(about))
        return identify(*triple)

    def withdraw(self, identifier: str, reviewer: int) -> bool:
        """Take a stated fact back; False if there is none of this id."""
        self.decisions.refresh()
        for triple, one in list(self.decisions.latest.items()):
            if _is_stated(one) and identify(*triple) == identifier:
                self.decisions.append(triple, Status.OPEN, self._made(reviewer))
                return True
        return False

    def of(self, identifier: str) -> Triple | None:
        """The keys of a proposal; None if there is none of this id."""
        place = self.places.get(identifier)
        return None if place is None else self.triples[place]

    def _fits(self, wanted: Wanted, place: int, status: Status) -> bool:
        return (
            wanted.relation in (None, self.triples[place][1])
            and wanted.status in (None, status)
            and self.chances[place] >= wanted.at_least
            and wanted.text.casefold() in self.texts[place]
        )

    def _sorted(self, places: list[int], wanted: Wanted) -> list[int]:
        """In the wanted order; equal ones stay as in the file, best score first."""
        if wanted.sort == "score":
            return places
        if wanted.sort == "probability":
            return sorted(places, key=lambda place: -self.chances[place])
        column = PARTS.index(wanted.sort)
        return sorted(places, key=lambda place: (self.names[place][column].casefold(), -self.chances[place]))

    def _made(self, reviewer: int) -> dict[str, Any]:
        return {"reviewer": reviewer, "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}

    def _proposed(self) -> dict[str, Any]:
        if self.model is None:
            return {}
        return {"model": self.model.name, "version": self.model.version, "bundle": self.bundle}


def _is_stated(decision: Mapping[str, Any]) -> bool:
    return decision.get("stated") is True and decision.get("status") == Status.ACCEPTED


def _stated(decision: Mapping[str, Any]) -> StatedFact:
    names = decision.get("names") or {}
    return StatedFact(
        **{part: Item(key=decision[part], name=names.get(part, decision[part])) for part in PARTS},
        id=identify(*(decision[part] for part in PARTS)),
        **{name: decision.get(name) for name in ("by", "note", "probability")},
    )


def _summary(path: Path) -> dict[str, Any]:
    """The summary beside a file of proposals; empty where there is none, as beside a copy."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _read(file: Path) -> pa.Table:
    try:
        return pq.read_table(file, schema=SCHEMA)
    except (OSError, pa.ArrowException) as error:
        raise UserError(file, "this is no file of proposals", "make one with `mmkgc propose --out FILE`") from error


def _proposal(row: Mapping[str, Any], status: Status, decision: Mapping[str, Any]) -> Proposal:
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
        **{name: decision.get(name) for name in ("by", "note", "instead")},
    )


def _item(row: Mapping[str, Any], part: str) -> Item:
    return Item(key=row[part], name=row[f"{part}_name"])
