"""What serving is asked and what it answers: one JSON form for the engine, TorchServe, the gateway and MLflow alike.

A query leaves out one of head, relation and tail, and asks for it; with all three it asks for the triple's score.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, create_model, model_validator

from mmkgc.components.dataset.modalities import MODALITIES
from mmkgc.components.kge.vocabulary import LONGEST_KEY
from mmkgc.serving.api.words import sentence

MAX_K = 1000
MAX_BATCH = 1024
MAX_STREAMED = 50_000
"""Queries of a request whose answers are streamed."""
Label = Annotated[str, Field(min_length=1, max_length=LONGEST_KEY)]


class Direction(StrEnum):
    """The part of the triple that a query asks for."""

    HEAD = "head"
    RELATION = "relation"
    TAIL = "tail"
    TRIPLE = "triple"


class Strict(BaseModel):
    """A model that refuses unknown keys, so that a mistyped option is an error and not a silent default."""

    model_config = ConfigDict(extra="forbid")


_fields: Any = {modality.field: (modality.annotation | None, None) for modality in MODALITIES.values()}
_Contents: Any = create_model("_Contents", __base__=Strict, **_fields)


class Unseen(_Contents):
    """An entity that the graph does not hold, described by one field or more: a text, an image (base64), numbers, …

    There is one field a modality. A URL is never fetched.
    """

    @model_validator(mode="after")
    def _has_a_modality(self) -> "Unseen":
        if not self.contents:
            raise ValueError(f"an unseen entity needs one of {', '.join(_fields)}, or several")
        return self

    @property
    def contents(self) -> dict[str, Any]:
        """The value of the field of each modality that was given."""
        given = {name: getattr(self, modality.field) for name, modality in MODALITIES.items()}
        return {name: value for name, value in given.items() if value is not None}


def _kind(value: Any) -> str:
    return "<unseen>" if isinstance(value, dict | Unseen) else "<label>"


Entity = Annotated[
    Annotated[Label, Tag("<label>")] | Annotated[Unseen, Tag("<unseen>")],
    Discriminator(_kind),  # so that an error is told of the kind of value that was given
]


class Query(Strict):
    """One question to the model; entities and relations are given by key or by name."""

    head: Entity | None = None
    relation: Label | None = None
    tail: Entity | None = None
    k: Annotated[int, Field(ge=1, le=MAX_K, description="how many predictions")] = 10
    exclude_known: Annotated[
        bool, Field(description="leave out what the graph already holds; by default not of `candidates`")
    ] = True
    exclude_self: Annotated[
        bool,
        Field(
            description="leave out the query's own entity, unless the graph has loops of this relation; by default not "
            "of `candidates`"
        ),
    ] = True
    exclude_other_types: Annotated[
        bool,
        Field(
            description="leave out entities of types that the relation never has on this side in the graph; by default "
            "not of `candidates`, and not where `type` is given"
        ),
    ] = True
    candidates: Annotated[list[Label], Field(min_length=1, description="rank these entities only")] | None = None
    type: Annotated[Label, Field(description="rank entities of this type only")] | None = None
    explain: Annotated[bool, Field(description="add modality shares and supporting triples")] = False

    @property
    def direction(self) -> Direction:
        """What this query asks for."""
        if self.head is None:
            return Direction.HEAD
        if self.relation is None:
            return Direction.RELATION
        return Direction.TAIL if self.tail is None else Direction.TRIPLE

    def leaves_out(self, option: Literal["exclude_known", "exclude_self", "exclude_other_types"]) -> bool:
        """Whether an option holds: candidates that are listed one by one are left out only where that is asked for."""
        return getattr(self, option) and (self.candidates is None or option in self.model_fields_set)

    @model_validator(mode="after")
    def _asks_one_thing(self) -> "Query":
        if (self.head is None) + (self.relation is None) + (self.tail is None) > 1:
            raise ValueError("give two of head, relation and tail, or all three to score the triple")
        return self


class Item(BaseModel):
    """An entity or a relation; an unseen entity has neither key nor name."""

    key: str | None
    name: str | None


class TripleItems(BaseModel):
    """A triple by keys and names."""

    head: Item
    relation: Item
    tail: Item


class Prediction(Item):
    """One ranked completion.

    ``probability`` is the calibrated one; null if the model was not calibrated, and of a ``known`` answer, which the
    graph holds and nobody needs to estimate. ``shares`` says how much each modality contributes to the score, and
    ``support`` names the most similar training triples of the relation; both only if the query asks to explain.
    """

    score: float
    probability: float | None
    known: bool
    shares: dict[str, float] | None = None
    support: list[TripleItems] | None = None


class Asked(BaseModel):
    """The query as it was understood; the part that was asked for is null."""

    direction: Direction
    head: Item | None
    relation: Item | None
    tail: Item | None


class Completion(Asked):
    """Predictions, best first; equal scores keep the graph's own order."""

    predictions: list[Prediction]


class Scored(Asked):
    """The score of a given triple; ``probability`` as in ``Prediction``."""

    score: float
    probability: float | None
    known: bool
    shares: dict[str, float] | None = None
    support: list[TripleItems] | None = None


class ErrorCode(StrEnum):
    """Why one query could not be answered."""

    INVALID_QUERY = "invalid_query"
    UNKNOWN_ENTITY = "unknown_entity"
    AMBIGUOUS_ENTITY = "ambiguous_entity"
    UNKNOWN_RELATION = "unknown_relation"
    AMBIGUOUS_RELATION = "ambiguous_relation"
    UNKNOWN_TYPE = "unknown_type"
    BAD_IMAGE = "bad_image"
    BAD_CONTENT = "bad_content"
    NO_MODALITY = "no_modality"
    UNSUPPORTED = "unsupported"
    OUT_OF_TIME = "out_of_time"
    TOO_COSTLY = "too_costly"
    UNAVAILABLE = "unavailable"


class Problem(BaseModel):
    """What is wrong with one query; ``nearest`` are the labels that may have been meant."""

    code: ErrorCode
    message: str
    nearest: list[Item] = []


class Failed(BaseModel):
    """The answer to a query that could not be answered; the rest of its batch is not affected."""

    error: Problem


Answer = Completion | Scored | Failed


class ModelName(BaseModel):
    """Which model answered."""

    name: str
    version: str


class Answers(BaseModel):
    """One answer a query, in the order of the queries."""

    model: ModelName
    answers: list[Answer]


class Triple(Strict):
    """A triple whose score is asked for."""

    head: Label
    relation: Label
    tail: Label
    explain: bool = False


class FoundEntity(BaseModel):
    """An entity in a search; ``picture`` says whether there is one."""

    key: str
    name: str
    type: str | None
    picture: bool


class EntityDetails(FoundEntity):
    """An entity with its description, and the first of its ``total`` known triples."""

    model: ModelName
    description: str | None
    facts: list[TripleItems]
    total: int


class Entities(BaseModel):
    """What a search found, the closest first."""

    model: ModelName
    entities: list[FoundEntity]


class Relation(BaseModel):
    """A relation, with its number of known triples; of an entity, as their head and as their tail."""

    key: str
    name: str
    triples: int
    as_head: int | None = None
    as_tail: int | None = None


class Relations(BaseModel):
    """The relations of the graph."""

    model: ModelName
    relations: list[Relation]


class Describing(BaseModel):
    """A field of an unseen entity that the model reads: how to ask for it, and the names that may stand in it."""

    modality: str
    field: str
    noun: str
    widget: str
    names: list[str]


class ModelInfo(BaseModel):
    """Who the model is.

    ``search``: whether all entities are compared, or an index finds the candidates; ``unseen_entities``: whether the
    missing-structure path was trained.
    """

    model: ModelName
    interaction: str
    fusion: str
    dimension: int
    modalities: list[str]
    encoders: dict[str, str]
    describing: list[Describing]
    entities: int
    relations: int
    train_triples: int
    known_triples: int
    types: list[str]
    search: str
    calibrated: bool
    unseen_entities: str
    provenance: dict[str, Any]


class RefusalReason(BaseModel):
    """Why a whole request was refused."""

    code: str
    message: str
    nearest: list[Item] = []


class Refused(BaseModel):
    """A request that was not answered at all."""

    error: RefusalReason


class QueryError(Exception):
    """One query cannot be answered; becomes its ``Failed`` answer."""

    def __init__(self, code: ErrorCode, message: str, nearest: list[dict[str, str]] | None = None) -> None:
        super().__init__(message)
        self.code, self.nearest = code, nearest or []

    def as_answer(self) -> dict[str, Any]:
        """The ``Failed`` answer as JSON."""
        return {"error": {"code": self.code.value, "message": str(self), "nearest": self.nearest}}


def parse_query(value: Any) -> Query:
    """A query from its JSON form; raises ``QueryError`` that says which part is wrong."""
    try:
        return Query.model_validate(value)
    except ValidationError as error:
        raise QueryError(ErrorCode.INVALID_QUERY, describe(error)) from None


def describe(error: ValidationError) -> str:
    """What is wrong, and where, in one sentence without the value itself."""
    return sentence(error.errors(include_input=False, include_url=False), [*Query.model_fields, *Unseen.model_fields])
