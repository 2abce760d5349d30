"""The identity of a triple, the same for every model."""

import hashlib
import json

ID_DIGITS = 16


def identify(head: str, relation: str, tail: str) -> str:
    """Id of a triple of keys."""
    return hashlib.sha256(json.dumps([head, relation, tail]).encode()).hexdigest()[:ID_DIGITS]
