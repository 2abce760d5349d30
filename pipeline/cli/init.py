"""``mmkgc init``: a checked dataset folder from what people have."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import click
import numpy as np

from mmkgc.components.dataset.findings import Findings
from mmkgc.components.dataset.portrait import Portrait
from mmkgc.components.dataset.readers.openke import readable
from mmkgc.components.ingest.check import survey
from mmkgc.components.ingest.config import IngestConfig
from mmkgc.components.ingest.converters import converter_of
from mmkgc.components.ingest.converters.archives import bare, unpacked
from mmkgc.components.ingest.converters.base import Guess, Wishes
from mmkgc.components.ingest.converters.cells import stem_of
from mmkgc.components.ingest.converters.draft import Draft
from mmkgc.components.ingest.converters.pictures import add_linked, add_pictures, picture_files
from mmkgc.components.ingest.converters.splitting import split
from mmkgc.components.ingest.converters.writing import write
from mmkgc.components.runtime.errors import UserError, did_you_mean, printable, shown
from mmkgc.components.runtime.files import atomic_path
from mmkgc.components.runtime.names import name_of
from mmkgc.components.runtime.quoting import shell
from mmkgc.feature_store.opening import open_storage
from mmkgc.pipeline.advice import advise
from mmkgc.pipeline.cli.program import program

BUSY = 1.5
"""Slowdown by other work, from which it is told."""


@click.command()
@click.argument("source")
@click.option("--to", type=click.Path(path_type=Path), help="The folder to write; by default SOURCE's name, here.")
@click.option(
    "--columns",
    multiple=True,
    metavar="ROLE=COLUMN,…",
    help="What columns hold: key, name, description, image, type, relation, number or ignore, or head, relation and "
    "tail; relation:NAME=COLUMN names the relation.",
)
@click.option("--separator", help="Separates several values of a cell; by default it is found.")
@click.option("--images", type=click.Path(path_type=Path), help="Folder or archive of pictures named by entity.")
@click.option("--language", default="en", show_default=True, help="Of RDF's labels and texts.")
@click.option("--yes", is_flag=True, help="Take the guesses without asking.")
@click.option("--no-estimate", is_flag=True, help="Leave out time, memory and baselines, which are measured here.")
def init(
    source: str,
    to: Path | None,
    columns: tuple[str, ...],
    separator: str | None,
    images: Path | None,
    language: str,
    yes: bool,
    no_estimate: bool,
) -> None:
    """Make a dataset folder, which `mmkgc run` takes, of SOURCE.

    SOURCE is a table of entities (CSV, TSV, Parquet, XLSX) or a folder of tables and pictures; triples, with or without
    splits; an OpenKE or PyKEEN dataset; RDF (N-Triples, Turtle, RDF/XML, JSON-LD); each also packed as zip or tar.

    \b
      mmkgc init films.csv
      mmkgc init films.csv --columns name=Title,relation:directed_by=Director --images posters/
      mmkgc init FB15k-237/ --to fb
      mmkgc init dump.nt.gz
    """
    path = Path(source).expanduser()
    target = _target(path, to)
    asked = _ask if _is_terminal() and not yes else _tell
    wishes = Wishes(_roles(columns), separator, language, asked)
    with ExitStack() as stack:  # what is unpacked stays until it is written
        found = stack.enter_context(unpacked(path))
        draft = _read(found, path, wishes, _name(path))
        if images:
            _add_images(draft, images, stack.enter_context(unpacked(images.expanduser())))
        splits, patterns = split(draft)
        picture = _portrait(draft, splits, patterns)
        with atomic_path(target) as folder:
            write(draft, splits, folder, _card(draft, picture, path))
            _, counts, findings = survey(str(folder), IngestConfig(), open_storage())
    _report(draft, replace(picture, pictured=counts["with_image"]), findings, target)
    names = (draft.names.get(at) or readable(key) for at, key in enumerate(draft.entities))
    advice = advise(counts, names)
    click.echo("\nrecipe")
    for reason in advice.reasons:
        click.echo(f"  {reason}")
    if not no_estimate:
        _forecast(target, advice.settings)
    changes = (part for setting in advice.settings for part in ("--set", setting))
    click.secho(f"\nnext:  {shell(program(), 'run', str(target), *changes)}", bold=True)


def _forecast(target: Path, settings: Sequence[str]) -> None:
    """Print what the run will need and what it has to beat."""
    click.echo("\nmeasuring on this machine …", err=True)
    from mmkgc.pipeline import config
    from mmkgc.pipeline.forecast import forecast

    found = forecast(target, config.load(str(target), settings))
    minutes = sum(found.seconds.values()) / 60
    parts = ", ".join(f"{name} {seconds / 60:.1f} min" for name, seconds in found.seconds.items() if seconds >= 3)
    most = "less than a minute" if minutes < 1 else f"about {minutes:.0f} min"
    click.echo(f"the run takes {most} on idle cores ({parts}) and {found.memory / 1e9:.1f} GB of memory")
    if found.slowdown >= BUSY:
        click.echo(f"  this machine is busy: beside its other work, {found.slowdown:.0f} times as long")
    click.echo("to beat, on the development split:")
    for name, mrr in found.baselines.items():
        click.echo(f"  MRR {mrr:.3f}  {name}")


def _is_terminal() -> bool:
    """Whether somebody can answer questions."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def _name(source: Path) -> str:
    """Name of the dataset: that of the source without its suffixes."""
    name = bare(source)
    return str(name if source.is_dir() else stem_of(Path(name))).rpartition(":")[2] or "graph"


def _target(source: Path, to: Path | None) -> Path:
    """The folder to write. Raises UserError if there is something in it."""
    target = to.expanduser() if to else Path(name_of(_name(source)))
    if not to and target.resolve() == source.resolve():
        target = target.with_name(f"{target.name}-graph")
    if target.is_dir() and any(target.iterdir()):
        raise UserError(target, "this folder is not empty, and nothing is replaced", "name another one: --to FOLDER")
    if target.exists() and not target.is_dir():
        raise UserError(target, "this is a file", "name a new folder: --to FOLDER")
    return target


def _roles(options: Sequence[str]) -> dict[str, str]:
    """Role by column. Raises UserError for a part without a column."""
    parts: list[str] = []
    for piece in (piece for option in options for piece in option.split(",")):
        if "=" in piece or not parts:
            parts.append(piece)
        else:
            parts[-1] += f",{piece}"  # a comma of the column's name
    roles = {}
    for part in parts:
        role, equals, column = part.partition("=")
        if not equals or not column.strip() or not role.strip():
            raise UserError(f"--columns {part}", "this names no column", "write ROLE=COLUMN, such as name=Title")
        roles[column.strip()] = role.strip()
    return roles


def _tell(table: str, guesses: Sequence[Guess]) -> Mapping[str, str]:
    """Show the guesses."""
    rows = [("column", "taken for", "because"), *((g.column, g.role, g.why) for g in guesses)]
    widths = [max(len(printable(row[at])) for row in rows) for at in range(2)]
    click.echo(f"\n{printable(table)}:")
    for column, role, why in rows:
        click.echo(f"  {printable(column):<{widths[0]}}  {printable(role):<{widths[1]}}  {printable(why)}")
    return {}


def _ask(table: str, guesses: Sequence[Guess]) -> Mapping[str, str]:
    """Show the guesses, and ask which are wrong, until an answer can be understood."""
    _tell(table, guesses)
    headers = [guess.column for guess in guesses]
    while True:
        answer = click.prompt("Enter, if this is right; else ROLE=COLUMN,…", default="", show_default=False)
        try:
            roles = _roles([answer]) if answer.strip() else {}
            for header in set(roles) - set(headers):
                raise UserError(header, "there is no such column", did_you_mean(header, headers))
        except UserError as error:
            click.secho(f"  {error}", fg="red")
            continue
        return roles


def _read(found: Path, source: Path, wishes: Wishes, name: str) -> Draft:
    draft = converter_of(found, wishes).read(found, wishes, name)
    draft.source = draft.source if draft.source != str(found) else source.name or str(source)
    files = picture_files(found) if found.is_dir() else []
    used = {path for paths in draft.pictures.values() for path in paths}
    if loose := [path for path in files if path not in used]:
        add_pictures(draft, found, loose)
    if draft.picture_links:
        add_linked(draft, files)
    return draft


def _add_images(draft: Draft, given: Path, folder: Path) -> None:
    """Give entities the pictures of ``folder``, which is ``given`` unpacked."""
    files = picture_files(folder) if folder.is_dir() else []
    if not files:
        raise UserError(f"--images {given}", "there are no pictures in it", "give a folder or an archive of pictures")
    linked = add_linked(draft, files)
    add_pictures(draft, folder, [path for path in files if path not in linked])


def _portrait(draft: Draft, splits: Mapping[str, np.ndarray], patterns: Sequence) -> Portrait:
    attributes: dict[str, int] = {}
    for _, attribute, _ in draft.literals:
        attributes[attribute] = attributes.get(attribute, 0) + 1
    return Portrait(
        entities=len(draft.entities),
        relations=[draft.relation_names.get(at) or readable(key) for at, key in enumerate(draft.relations)],
        splits=splits,
        types=list(draft.types.values()),
        described=len(draft.descriptions),
        pictured=len(draft.pictures),
        numbered=len({entity for entity, _, _ in draft.literals}),
        attributes=attributes,
        patterns=patterns,
    )


def _card(draft: Draft, picture: Portrait, source: Path) -> str:
    """README.md of the folder."""
    findings = [*draft.findings.notes, *draft.findings.warnings, *picture.warnings()]
    told = "\n".join(["## What was found", "", "```", *picture.lines(), "```", "", *(f"- {line}" for line in findings)])
    files = "`train.tsv`, `valid.tsv`, `test.tsv`: triples; `entities.tsv`, `relations.tsv`: keys, names, texts, images"
    return (
        f"# {draft.name}\n\nMade by `mmkgc init {source.name or source}`. {files}"
        f"{'; `literals.tsv`: numbers' if draft.literals else ''}.\n\n{told}\n"
        "\n## To be filled in\n\n- Source of the facts, and their date:\n- Licence (`licence:` in dataset.yaml):\n"
    )


def _report(draft: Draft, picture: Portrait, checked: Findings, target: Path) -> None:
    click.secho(f"\n{printable(draft.name)} → {printable(str(target))}", bold=True)
    for line in picture.lines():
        click.echo(f"  {printable(line)}")
    for note in [*draft.findings.notes, *checked.notes]:
        click.echo(f"  note: {printable(note)}")
    for warning in dict.fromkeys([*picture.warnings(), *draft.findings.warnings, *checked.warnings]):
        click.secho(f"  WARNING: {printable(warning)}", fg="yellow")
    if draft.picture_links:
        links, first = len(draft.picture_links), shown(draft.picture_links[0][1])
        click.echo(f"  note: {links:,} pictures are addresses such as {first}, and nothing is fetched: image_links.txt")
        click.echo("        lists them. Download them into a folder, and name it: --images FOLDER")
