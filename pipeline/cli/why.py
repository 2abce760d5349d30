"""``mmkgc why``: explains one answer of a model."""

import json as json_
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from mmkgc.components.dataset.modalities import MODALITIES
from mmkgc.components.runtime.errors import UserError, printable
from mmkgc.pipeline.cli.complete import ASKED, PARTS, UNSEEN, refuse_failed

Json = Mapping[str, Any]


@click.command()
@click.argument("head")
@click.argument("relation")
@click.argument("tail", default=ASKED)
@click.option("--name", help="Model in the registry (default: the one promoted last).")
@click.option("--alias", default="champion", show_default=True, help="Which of its versions.")
@click.option("--bundle", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Use this bundle folder.")
@click.option("--json", is_flag=True, help="Print the explanation as JSON.")
def why(head: str, relation: str, tail: str, name: str | None, alias: str, bundle: Path | None, json: bool) -> None:
    """Explain a triple, or the first answer to a query, in which `-` (or nothing, for the tail) is asked for.

    Prints the most similar facts, rules whose conditions hold, how much each modality contributes, and what the model
    would answer without the images, the texts, … of the two entities. Answers that the graph holds are passed over.

    \b
      mmkgc why Norway "official language"     why this first answer?
      mmkgc why - borders Norway               the same, asked for the head
      mmkgc why Norway borders Sweden          why this one?
    """
    words = dict(zip(PARTS, (head, relation, tail), strict=True))
    if UNSEEN in words.values():
        mend = "`mmkgc complete @ … ` asks about one that it does not hold"
        raise UserError("mmkgc why", "only entities of the graph can be explained", mend)
    explained = _explained({part: None if word == ASKED else word for part, word in words.items()}, name, alias, bundle)
    if json:
        click.echo(json_.dumps(explained, indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(map(printable, lines(explained))))


def _explained(query: dict[str, str | None], name: str | None, alias: str, bundle: Path | None) -> dict[str, Any]:
    from mmkgc.pipeline.cli.champion import choose, others
    from mmkgc.serving.api.protocol import QueryError
    from mmkgc.serving.engine.engine import Engine
    from mmkgc.serving.engine.why import Why

    chosen = choose(name, alias, bundle)
    try:
        return Why(Engine.load(chosen.bundle, chosen.name, chosen.version)).explain(**query)
    except QueryError as error:
        refuse_failed(error.as_answer(), "why", "" if name or bundle else others(chosen.name, alias))
        raise


def lines(explained: Json) -> Iterator[str]:
    """The explanation for a terminal."""
    asked = "head" if explained["direction"] == "head" else "tail"
    yield f"{_fact(explained)}{'   known to the graph' if explained['known'] else ''}"
    chance = explained["probability"]
    likely = f"{chance:.1%}, " if chance is not None else ""
    yield f"  {likely}score {explained['score']:.3f}, rank {explained['rank']} of {explained['candidates']} as {asked}"
    if (rank := explained["rank"]) > 1:
        shown = len(explained["first"])
        more = f" and {rank - 1 - shown} more" if rank - 1 > shown else ""
        yield f"  before it: {_names(explained['first'][: rank - 1])}{more}"
    yield from _section("similar facts", map(_fact, explained["support"]))
    yield from _section("rules", map(_rule, explained["rules"]))
    if not explained["rules"]:
        yield "rules: none whose condition holds for these two entities"
    if explained["shares"]:
        yield "modalities: " + ", ".join(f"{name} {share:.0%}" for name, share in explained["shares"].items())
    else:
        yield "modalities: this fusion does not weigh them; the next lines show what each contributes"
    if explained["without"]:
        yield from _section("without what these two entities have", _without(explained["without"]))


def _section(title: str, rows: Iterator[str]) -> Iterator[str]:
    for index, row in enumerate(rows):
        if not index:
            yield f"{title}:"
        yield f"  {row}"


def _without(rows: Sequence[Json]) -> Iterator[str]:
    nouns = [" and ".join(_noun(modality) for modality in row["modalities"]) for row in rows]
    width = max(map(len, nouns))
    for noun, row in zip(nouns, rows, strict=True):
        chance = f"{row['probability']:6.1%}  " if row["probability"] is not None else ""
        yield f"no {noun:<{width}}  {chance}rank {row['rank']:>4}  first: {_names(row['first'])}"


def _noun(modality: str) -> str:
    return f"{MODALITIES[modality].noun}s" if modality in MODALITIES else modality


def _rule(rule: Json) -> str:
    share = rule["support"] / rule["pairs"]
    holds = f"in {rule['support']} of the {rule['pairs']} other such pairs the relation holds ({share:.0%})"
    return f"{' and '.join(map(_fact, rule['facts']))}: {holds}"


def _fact(fact: Json) -> str:
    return " · ".join(fact[part]["name"] for part in PARTS)


def _names(items: Sequence[Json]) -> str:
    return ", ".join(item["name"] for item in items)
