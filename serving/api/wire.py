"""Answers as bytes: a JSON document with one answer per line, so that the gateway forwards them without parsing."""

from collections.abc import Sequence

from pydantic_core import from_json, to_json

Name = dict[str, str]


def join(model: Name, answers: Sequence[bytes]) -> bytes:
    """The JSON of ``protocol.Answers`` from the JSON of each answer, which must not contain a line break."""
    return to_json({"model": model})[:-1] + b',"answers":[\n' + b",\n".join(answers) + b"\n]}"


def split(body: bytes) -> tuple[Name, list[bytes]]:
    """The model and the answers of a document that ``join`` wrote."""
    first, *answers, _ = body.split(b"\n")
    return from_json(first + b"]}")["model"], [answer.removesuffix(b",") for answer in answers if answer]


def line(answer: bytes, model: Name) -> bytes:
    """An answer as a line of its own, with the model that gave it, if one did."""
    return answer[:-1] + b',"model":' + to_json(model) + b"}\n" if model else answer + b"\n"


def outcome(answer: bytes) -> tuple[str, str]:
    """Direction and status of one answer, read from its first key; the direction of a failed answer is unknown."""
    if answer.startswith(b'{"error":'):
        return "unknown", from_json(answer)["error"]["code"]
    return answer.split(b'"', 4)[3].decode(), "ok"
