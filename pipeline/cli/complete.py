"""``mmkgc complete``: queries a model from the command line."""

import json as json_
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from mmkgc.components.dataset.modalities import MODALITIES
from mmkgc.components.runtime.errors import UserError, printable
from mmkgc.pipeline.cli.chances import abstained, frequency

ASKED, UNSEEN = "-", "@"
PARTS = ("head", "relation", "tail")


def _content_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add one option per modality; its values are passed under the name of the modality's field."""
    for modality in MODALITIES.values():
        option = click.option(
            modality.option, modality.field, multiple=True, metavar=modality.metavar, help=modality.help
        )
        command = option(command)
    return command


@click.command()
@click.argument("head")
@click.argument("relation")
@click.argument("tail", default=ASKED)
@click.option("-k", default=10, show_default=True, help="How many predictions.")
@click.option("--new", is_flag=True, help="Leave out what the graph already holds; otherwise it is marked `known`.")
@click.option(
    "--at-least",
    type=click.FloatRange(0, 1),
    default=0.0,
    metavar="P",
    help="Only answers of at least this probability (0.3: about 3 in 10 are right), and what is known.",
)
@click.option("--type", "type_", help="Only entities of this type (default: of types that the relation has there).")
@click.option("--any-type", is_flag=True, help="Entities of any type.")
@click.option("--explain", is_flag=True, help="Show modality weights and the most similar training triples.")
@_content_options
@click.option("--name", help="Model in the registry (default: the one promoted last).")
@click.option("--alias", default="champion", show_default=True, help="Which of its versions.")
@click.option("--bundle", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Use this bundle folder.")
@click.option("--url", help="Ask a gateway instead of loading the model here.")
@click.option("--key", envvar="MMKGC_API_KEY", default="", help="The gateway's API key (or $MMKGC_API_KEY).")
@click.option("--json", is_flag=True, help="Print the answer as JSON.")
def complete(
    head: str,
    relation: str,
    tail: str,
    k: int,
    new: bool,
    at_least: float,
    type_: str | None,
    any_type: bool,
    explain: bool,
    name: str | None,
    alias: str,
    bundle: Path | None,
    url: str | None,
    key: str,
    json: bool,
    **contents: tuple[str, ...],
) -> None:
    """Complete a triple: what is asked for is written `-` (or left out, if it is the tail).

    \b
      mmkgc complete Norway borders                which countries border Norway?
      mmkgc complete - borders Norway              the same, asked for the head
      mmkgc complete Norway - Sweden               how are they related?
      mmkgc complete Norway borders Sweden         how plausible is it?
      mmkgc complete @ borders --image flag.png    an entity that the graph does not hold
      mmkgc complete @ borders --number population=5400000 --number area=324000

    Entities and relations are given by key or by name, in any case.
    """
    given = dict(zip(PARTS, (head, relation, tail), strict=True))
    options = {"k": k, "exclude_known": new, "exclude_other_types": not any_type, "explain": explain}
    query = query_of(given, contents) | options
    if type_ is not None:
        query["type"] = type_
    answer = _ask_gateway(query, url, key) if url else _ask_here(query, name, alias, bundle, json)
    if json:
        answer, _ = confident(answer, at_least)
        click.echo(json_.dumps(answer, indent=2, ensure_ascii=False))
    else:
        refuse_failed(answer)
        click.echo("\n".join(map(printable, table(*confident(answer, at_least)))))


def query_of(given: dict[str, str], contents: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The query of three words, of which one may be ``-`` (asked for) and one ``@`` (a new entity).

    ``contents`` describe the new entity: the values of each modality's option.
    """
    described = {
        modality.field: modality.from_option(contents[modality.field])
        for modality in MODALITIES.values()
        if contents.get(modality.field)
    }
    if bool(described) != (UNSEEN in given.values()):
        options = ", ".join(modality.option for modality in MODALITIES.values())
        raise UserError("complete", f"{options} describe the entity that is written @", "write both or neither")
    meanings: dict[str, Any] = {ASKED: None, UNSEEN: described}
    return {part: meanings.get(word, word) for part, word in given.items()}


def refuse_failed(answer: dict[str, Any], asked_by: str = "complete", advice: str = "") -> None:
    """Raise the error of a failed answer as UserError, named after the command that asked, with further ``advice``."""
    if "error" in answer:
        near = ", ".join(f"{item['name']} ({item['key']})" for item in answer["error"]["nearest"])
        mends = [f"did you mean: {near}?" if near else "", advice]
        raise UserError(asked_by, answer["error"]["message"], "; ".join(filter(None, mends)))


def confident(answer: dict[str, Any], at_least: float) -> tuple[dict[str, Any], str]:
    """The answer without unknown predictions less probable than ``at_least``, and a sentence on them (or none)."""
    unsure = [p for p in answer.get("predictions", ()) if not p["known"] and (p["probability"] or 0) < at_least]
    if not unsure:
        return answer, ""
    if all(p["probability"] is None for p in unsure):
        raise UserError("--at-least", "this model was not calibrated, so there are no probabilities", "leave it out")
    kept = [p for p in answer["predictions"] if p not in unsure]
    best = max(p["probability"] for p in unsure)
    return answer | {"predictions": kept}, abstained(at_least, best, len(unsure))


def table(answer: dict[str, Any], left_out: str = "") -> list[str]:
    """Format an answer as lines for a terminal, and say what was left out of it."""
    title = "  ".join(_name(answer, part) for part in PARTS)
    if answer["direction"] == "triple":
        return list(map(printable, [title, *_explained(answer), f"  {_figures(answer)}"]))
    width = max([len(printable(p["name"])) for p in answer["predictions"]] + [1])
    lines = [title]
    for rank, prediction in enumerate(answer["predictions"], 1):
        lines.append(f"{rank:>4}  {printable(prediction['name']):<{width}}  {_figures(prediction)}")
        lines += _explained(prediction)
    if left_out:
        lines.append(f"  {left_out}")
    elif len(lines) == 1:
        lines.append("  nothing left: the graph knows every answer (try without --new)")
    return list(map(printable, lines + _in_words(answer["predictions"])))


def _in_words(predictions: Sequence[dict[str, Any]]) -> list[str]:
    """What the probability of the first unknown answer means."""
    first = next((p for p in predictions if not p["known"] and p["probability"] is not None), None)
    if first is None:
        return []
    right = frequency(first["probability"])
    return [f"  of answers like {printable(first['name'])}, {right} are right, if the graph lacks one"]


def _figures(prediction: dict[str, Any]) -> str:
    probability = prediction["probability"]
    chance = "known" if prediction["known"] else f"{probability:.1%}" if probability is not None else ""
    return f"{chance:>6}  score {prediction['score']:8.3f}"


def _explained(prediction: dict[str, Any]) -> list[str]:
    shares: dict[str, float] = prediction.get("shares") or {}
    support: Sequence[Any] = prediction.get("support") or ()
    lines = ["      " + "  ".join(f"{modality} {share:.0%}" for modality, share in shares.items())] if shares else []
    return lines + ["      like: " + "  ".join(triple[part]["name"] for part in PARTS) for triple in support]


def _name(answer: dict[str, Any], part: str) -> str:
    item = answer[part]
    return "?" if item is None else item["name"] or "(described)"


def _ask_here(
    query: dict[str, Any], name: str | None, alias: str, bundle: Path | None, as_json: bool
) -> dict[str, Any]:
    from mmkgc.pipeline.cli.champion import choose, others
    from mmkgc.serving.engine.engine import Engine

    chosen = choose(name, alias, bundle)
    (answer,) = Engine.load(chosen.bundle, chosen.name, chosen.version).answer([query])
    if "error" in answer and not as_json and not name and not bundle:
        refuse_failed(answer, advice=others(chosen.name, alias))
    return answer


def _ask_gateway(query: dict[str, Any], url: str, key: str) -> dict[str, Any]:
    from mmkgc.serving.api.client import Client, ClientError, Unreachable

    if not key:
        raise UserError("--key", "the gateway needs an API key", "`mmkgc serve` prints one")
    try:
        with Client(url, key) as client:
            (answer,) = client.complete_all([query])
    except ClientError as error:
        asked = error.status or isinstance(error, Unreachable)
        mend = "start one with `mmkgc serve`, or correct --url and --key" if asked else ""
        raise UserError(url, str(error), mend) from error
    return answer.model_dump(mode="json")
