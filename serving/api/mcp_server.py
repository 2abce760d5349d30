"""A server of the Model Context Protocol: agents query the model through tools, over stdin and stdout or HTTP.

The tools use the engine of all other serving code, so answers are the same as those of `mmkgc complete`.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import torch
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field

from mmkgc.components.kge.graph import HEAD, RELATION
from mmkgc.components.runtime.nouns import counted
from mmkgc.serving.api.gateway.access import UNAUTHORIZED, Access
from mmkgc.serving.api.gateway.refusal import Refusal
from mmkgc.serving.api.protocol import MAX_K, QueryError
from mmkgc.serving.engine.engine import Engine
from mmkgc.serving.engine.why import Why

Json = dict[str, Any]
Asked = Annotated[str | None, Field(description="key or name of an entity; leave it out to ask for it")]
Label = Annotated[str, Field(min_length=1, description="key or name")]
Count = Annotated[int, Field(ge=1, le=MAX_K, description="how many answers")]
Few = Annotated[int, Field(ge=1, le=100, description="how many")]
Type = Annotated[str | None, Field(description="entities of this type only")]
COMMON = 0.2
"""Share of the entities of a type that have a relation, from which on the others are asked for it too."""
CALL_COST = 10
"""Cost of a call that is not a plain query, in the units of ``mmkgc.serving.api.cost``."""


class Tools:
    """The tools of one loaded model. Each returns JSON, and raises ``ToolError`` with what an agent can do."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.why = engine, Why(engine)

    def complete(
        self,
        relation: Annotated[str | None, Field(description="key or name of a relation; leave it out to ask")] = None,
        head: Asked = None,
        tail: Asked = None,
        k: Count = 10,
        type: Type = None,
        include_known: Annotated[bool, Field(description="also answers that the graph holds, marked `known`")] = False,
    ) -> Json:
        """Predict the missing part of a triple (head, relation, tail): leave out exactly one of the three.

        Predictions are ranked, best first, with a calibrated probability if the model has one: how often such an answer
        is right if the graph lacks one. They are guesses of a model, not facts, except `known` ones: these are in the
        graph and have no probability (null).
        """
        query = {"head": head, "relation": relation, "tail": tail, "k": k, "type": type}
        return self._answer(query | {"exclude_known": not include_known})

    def score(self, head: Label, relation: Label, tail: Label) -> Json:
        """Score a whole triple: its plausibility, whether the graph holds it, and if not, its probability."""
        return self._answer({"head": head, "relation": relation, "tail": tail})

    def explain(self, relation: Label, head: Asked = None, tail: Asked = None) -> Json:
        """Explain a triple, or the first answer if its head or tail is left out.

        Gives similar facts, rules whose conditions hold with their counts, modality weights, and the answers without
        the images, texts or numbers of the two entities.
        """
        return self._checked(lambda: self.why.explain(head, relation, tail))

    def search_entities(
        self,
        text: Annotated[str, Field(max_length=200, description="a part of the name or key; empty: any")] = "",
        type: Type = None,
        limit: Few = 10,
    ) -> Json:
        """Find entities of the graph by a part of their name or key, also with spelling mistakes."""
        return self._checked(lambda: self.engine.catalog.search(text, limit, type))

    def relations(
        self, entity: Annotated[str | None, Field(description="those of this entity come first")] = None
    ) -> Json:
        """List the relations of the graph with their number of triples."""
        return self._checked(lambda: self.engine.catalog.relations(entity))

    def propose(self, entity: Label, limit: Few = 10) -> Json:
        """Propose facts about an entity that may be missing from the graph, the most probable first.

        Asks for the relations that the entity, or a fifth of the entities of its type, has as a head. The probability
        is that of an answer if the graph lacks one, which it may not. A person should review them: many are wrong.
        """
        return self._checked(lambda: self._propose(entity, limit))

    def _propose(self, entity: str, limit: int) -> Json:
        index = self.engine.resolver.entities.resolve(entity)
        keys = self.engine.bundle.relations.keys
        queries = [{"head": entity, "relation": keys[r], "k": limit} for r in self._usual(index)]
        found = [
            {"head": answer["head"], "relation": answer["relation"], "tail": {k: p[k] for k in ("key", "name")}}
            | {"score": p["score"], "probability": p["probability"]}
            for answer in self.engine.answer(queries)
            for p in answer["predictions"]
        ]
        found.sort(key=lambda triple: (-(triple["probability"] or 0.0), -triple["score"]))
        return {"proposals": found[:limit]}

    def _usual(self, index: int) -> list[int]:
        """Relations that the entity has as a head, or that are common among the entities of its type."""
        bundle = self.engine.bundle
        heads = bundle.known.triples[:, [HEAD, RELATION]].unique(dim=0)
        own = heads[heads[:, 0] == index, 1]
        kind = bundle.types[index] if bundle.types else None
        if not kind:
            return own.tolist()
        peers = torch.from_numpy(self.engine.resolver.of_type[kind])
        counts = torch.bincount(heads[torch.isin(heads[:, 0], peers), 1], minlength=len(bundle.relations))
        return torch.cat([own, (counts >= COMMON * len(peers)).nonzero().squeeze(1)]).unique().tolist()

    def _answer(self, query: Json) -> Json:
        (answer,) = self.engine.answer([query])
        if "error" in answer:
            raise ToolError(_sentence(answer["error"]))
        return answer

    def _checked(self, call: Callable[[], Json]) -> Json:
        try:
            return call()
        except QueryError as error:
            raise ToolError(_sentence(error.as_answer()["error"])) from error


def server(engine: Engine) -> MCPServer:
    """The server of a loaded model. Nothing that its tools do changes anything."""
    about = engine.catalog.model()
    instructions = (
        f"A model that completes the knowledge graph '{engine.name}' ({counted(about['entities'], 'entity')}, "
        f"{counted(about['relations'], 'relation')}). Find names with search_entities and relations, then ask "
        "complete; explain says why an answer stands first."
    )
    made: MCPServer = MCPServer("mmkgc", instructions=instructions, version=str(engine.version), log_level="WARNING")
    tools = Tools(engine)
    reading = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
    for tool in (tools.complete, tools.score, tools.explain, tools.search_entities, tools.relations, tools.propose):
        made.add_tool(tool, annotations=reading)
    return made


def http_app(made: MCPServer, keys: Sequence[str], per_second: float, burst: int, host: str = "127.0.0.1") -> Any:
    """The server as an ASGI application at ``/mcp`` that requires one of the gateway's API keys."""
    inner = made.streamable_http_app(stateless_http=True, json_response=True, host=host)
    return _Keyed(inner, Access(keys, per_second, burst))


class _Keyed:
    """ASGI middleware: a request needs an API key, whose allowance each call reduces."""

    def __init__(self, inner: Any, access: Access) -> None:
        self.inner, self.access = inner, access

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            try:
                key = self.access.find(dict(scope["headers"]).get(b"authorization", b""))
                if key is None:
                    raise UNAUTHORIZED
                self.access.spend(key, CALL_COST)
            except Refusal as refusal:
                await refusal.response()(scope, receive, send)
                return
        await self.inner(scope, receive, send)


def _sentence(error: Json) -> str:
    near = ", ".join(f"{item['name']} ({item['key']})" for item in error["nearest"])
    return error["message"] + (f"; did you mean: {near}?" if near else "")
