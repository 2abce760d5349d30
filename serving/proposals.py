"""Missing triples that a model proposes: one Parquet file, best first, and what reviewers decided about them."""

import hashlib
import json

import pyarrow as pa

KIND, FILE, SUMMARY = "proposals", "proposals.parquet", "summary.json"
ID_DIGITS = 16

_SUPPORT = pa.struct([(name, pa.string()) for name in ("head", "head_name", "tail", "tail_name")])
SCHEMA = pa.schema(
    [
        ("id", pa.string()),  # of the triple: the same whoever proposes it
        *((name, pa.string()) for part in ("head", "relation", "tail") for name in (part, f"{part}_name")),
        ("rank", pa.int32()),  # among the proposals of the relation
        ("score", pa.float32()),
        ("probability", pa.float64()),  # calibrated, or null
        ("shares", pa.map_(pa.string(), pa.float32())),  # of each modality, or null
        ("support", pa.list_(_SUPPORT)),  # the most similar train triples, of the same relation
        *((name, pa.string()) for name in ("model", "version", "bundle")),
    ]
)


def identify(head: str, relation: str, tail: str) -> str:
    """Id of a triple of keys."""
    return hashlib.sha256(json.dumps([head, relation, tail]).encode()).hexdigest()[:ID_DIGITS]
