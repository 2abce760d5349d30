"""The server that one would write first with PyKEEN: beside it the project's own is measured (``load.py``)."""

import torch
from fastapi import FastAPI
from pykeen.models import RotatE
from pykeen.predict import predict_target
from pykeen.triples import TriplesFactory

ENTITIES, RELATIONS, TRIPLES, DIMENSION = 15_000, 279, 80_000, 200

torch.manual_seed(0)
mapped = torch.stack([torch.randint(high, (TRIPLES,)) for high in (ENTITIES, RELATIONS, ENTITIES)], dim=1)
factory = TriplesFactory(
    mapped, {f"e{index}": index for index in range(ENTITIES)}, {f"r{index}": index for index in range(RELATIONS)}
)
model = RotatE(triples_factory=factory, embedding_dim=DIMENSION).eval()
app = FastAPI()


@app.get("/healthz")
def healthz() -> str:
    """Ready."""
    return "ok"


@app.post("/predict")
def predict(query: dict) -> list[dict]:
    """Top k tails or heads, known ones excluded."""
    found = predict_target(
        model=model, head=query.get("head"), relation=query["relation"], tail=query.get("tail"), triples_factory=factory
    )
    return found.filter_triples(factory).df.head(query["k"]).to_dict("records")
