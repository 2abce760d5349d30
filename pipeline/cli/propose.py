"""``mmkgc propose``: completes the whole graph, and exports accepted triples for the next run."""

import shlex
from collections import defaultdict
from pathlib import Path
from typing import Any

import click

from mmkgc.components.runtime.nouns import counted
from mmkgc.components.runtime.quoting import json_line, printable, shell
from mmkgc.pipeline.cli.chances import abstained
from mmkgc.pipeline.cli.program import program

SHOWN = 3
INCREMENTS = "ingest.increments="


@click.group(invoke_without_command=True)
@click.option("--name", "--model", help="Model in the registry (default: the one promoted last).")
@click.option("--alias", default="champion", show_default=True, help="Which of its versions.")
@click.option("--bundle", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Use this bundle folder.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Also write the Parquet file here.")
@click.option("--relation", "relations", multiple=True, metavar="KEY", help="Only this relation (repeatable).")
@click.option("--share", type=float, help="Proposals per relation, as a fraction of its train triples [default: 0.1] …")
@click.option("--least", type=int, help="… but at least this many [default: 10]")
@click.option("--most", type=int, help="… and at most this many [default: 1000].")
@click.option("--at-least", type=float, help="Only proposals of at least this probability [default: 0].")
@click.option("--missing", type=float, help="Share of its facts that the graph is thought to lack [default: 0.05].")
@click.pass_context
def propose(
    context: click.Context,
    name: str | None,
    alias: str,
    bundle: Path | None,
    out: Path | None,
    relations: tuple[str, ...],
    share: float | None,
    least: int | None,
    most: int | None,
    at_least: float | None,
    missing: float | None,
) -> None:
    """Propose triples that are missing from the graph, by answering all plausible queries over the whole graph.

    Known triples and triples that were rejected before are not proposed. An interrupted command resumes where it
    stopped. A run includes this step if its recipe has `propose: {enabled: true}`.

    \b
      mmkgc propose                                 with the model promoted last
      mmkgc propose --relation borders --share 0.5  more of one relation
      mmkgc serve                                   review them: page, Proposals
      mmkgc propose export -o accepted              what was accepted, as a folder …
      mmkgc run countries --set ingest.increments='[accepted]'      … for the next run
    """
    if context.invoked_subcommand:
        return
    given = {"relations": relations or None, "share": share, "least": least, "most": most}
    folder = _complete({key: value for key, value in given.items() if value is not None}, name, alias, bundle)
    _print(folder)
    click.echo(f"\nproposals  {_written(folder, out)}")
    of_bundle = ["--bundle", str(bundle)] if bundle else []
    click.echo(f"review     {shell(program(), 'serve', *of_bundle)}, page Proposals")


@propose.command()
@click.argument("decisions", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=False)
@click.option("--name", "--model", help="Decisions on this model's proposals (default: the one promoted last).")
@click.option("--out", "-o", type=click.Path(path_type=Path), help="Folder or file to write [default: accepted…].")
@click.option("--as", "as_", type=click.Choice(["csv", "nquads", "cypher"]), help="Format of another system.")
def export(decisions: Path | None, name: str | None, out: Path | None, as_: str | None) -> None:
    """Write the decisions to a folder for the next run's `ingest.increments`, or accepted facts for another system.

    Accepted triples join train, rejected ones are known to be false. With `--as`, accepted facts are written to a file,
    with the model, its version, the probability, the reviewer and the time. DECISIONS is the file of review decisions
    (default: $MMKGC_HOME/decisions/MODEL.jsonl).

    \b
      mmkgc propose export -o accepted              for the next run
      mmkgc propose export --as nquads              RDF: a named graph with reified statements, accepted.nq
      mmkgc propose export --as cypher              statements for Neo4j's cypher-shell, accepted.cypher
      mmkgc propose export --as csv -o facts.csv    a table
    """
    from mmkgc.components.propose.export import export as write
    from mmkgc.components.propose.export import export_facts
    from mmkgc.pipeline.cli.champion import latest
    from mmkgc.serving.review.decisions import Decisions

    model = name or (decisions.stem if decisions else latest("champion"))
    log = Decisions(decisions) if decisions else Decisions.of_model(model)
    if as_:
        count, path = export_facts(log, as_, out)
        click.echo(f"{counted(count, 'accepted fact')} in {path}")
        return
    out = out or Path("accepted")
    card = write(log, out)
    click.echo(f"{card['accepted']:,} accepted and {counted(card['rejected'], 'rejected triple')} in {out}")
    click.echo(f"next run   {_next_run(model, out)}")


def _next_run(model: str, accepted: Path) -> str:
    """The command that made the model, with what was accepted; in words if MLflow does not know it."""
    addition = "--set", f"{INCREMENTS}{json_line([str(accepted)])}"
    if not (command := _command_of(model)):
        return printable(f"the command that trained {model}, with {shell(*addition)}")
    _, *words = shlex.split(command)
    earlier = {at for at, word in enumerate(words) if word.startswith(INCREMENTS)}
    kept = [word for at, word in enumerate(words) if not {at, at + 1} & earlier]
    return printable(shell(program(), *kept, *addition))


def _command_of(model: str) -> str | None:
    """The command of the run that made the champion of a model; None if it is not known."""
    from mmkgc.components.runtime import model_registry, tracking
    from mmkgc.components.runtime.errors import UserError
    from mmkgc.components.runtime.pipeline_run import COMMAND_TAG

    try:
        champion, api = model_registry.version_at(model, "champion"), tracking.client()
    except UserError:  # MLflow cannot be reached; what was asked for is written
        return None
    run = api.get_model_version(model, champion.version).run_id if champion else None
    return api.get_run(run).data.tags.get(COMMAND_TAG) if run else None


def _complete(given: dict[str, Any], name: str | None, alias: str, bundle: Path | None) -> Path:
    """The published folder of the proposals."""
    from pydantic import ValidationError

    from mmkgc.components.propose.decided import Decided
    from mmkgc.components.propose.propose import ProposeConfig, complete_graph
    from mmkgc.components.runtime.errors import UserError
    from mmkgc.feature_store.opening import open_storage
    from mmkgc.pipeline.cli.champion import choose
    from mmkgc.serving.api.protocol import ModelName, describe

    try:
        config = ProposeConfig(**given)
    except ValidationError as error:
        raise UserError("mmkgc propose", describe(error)) from error
    chosen = choose(name, alias, bundle)
    storage, decided = open_storage(), Decided.of_model(chosen.name)
    if decided.accepted or decided.rejected:
        told = counted(len(decided.rejected), "rejected triple is", "rejected triples are")
        also = counted(len(decided.accepted), "accepted one")
        click.echo(f"{told} left out; probabilities follow these decisions and {also}", err=True)
    model = ModelName(name=chosen.name, version=chosen.version)
    return storage.fetch(complete_graph(chosen.bundle, model, config, storage, decided).uri)


def _print(folder: Path) -> None:
    """Print the number of proposals, their held-out precision, and the best of each relation."""
    import pyarrow.parquet as pq

    from mmkgc.components.runtime.files import read_json
    from mmkgc.serving.review.proposals import FILE, SUMMARY

    summary = read_json(folder / SUMMARY)
    click.echo(f"{counted(summary['proposals'], 'triple')} proposed, from {counted(summary['questions'], 'question')}")
    if summary["left_out"]:
        click.echo(f"  {abstained(summary['at_least'], None, summary['left_out'])}")
    if hidden := summary["hide_and_seek"]:
        model, popularity = hidden["precision"], hidden["popularity_precision"]
        click.echo(
            f"  held-out precision: with dev and test hidden, {model:.0%} of {counted(hidden['kept'], 'proposal')} are "
            f"in these splits (relation popularity: {popularity:.0%})"
        )
    if found := summary["reliability"]:
        click.echo(
            f"  probabilities: if the graph lacks {summary['missing']:.0%} of its facts (--missing); "
            f"{_learned(summary)}; expected calibration error {found['expected_error']:.3f} on held-out facts"
            + (
                f" ({found['error_by_chance']:.3f} if each probability were exactly right)"
                if "error_by_chance" in found
                else ""
            )
        )
    columns = ["relation_name", "head_name", "tail_name", "probability", "score"]
    best = defaultdict(list)
    for row in pq.read_table(folder / FILE, columns=columns).to_pylist():
        best[row["relation_name"]].append(row)
    for relation, rows in sorted(best.items()):
        rows.sort(key=lambda row: (-(row["probability"] or 0), -row["score"]))
        click.echo(f"\n{printable(relation)} ({len(rows)}{_expected(rows)})")
        click.echo("\n".join(_line(row) for row in rows[:SHOWN]))


def _learned(summary: dict[str, Any]) -> str:
    decided = summary["accepted"] + summary["rejected"]
    return f"{summary['accepted']} of {decided} reviewed were right" if decided else "none was reviewed yet"


def _expected(rows: list[dict[str, Any]]) -> str:
    """How many of the proposals are right by their probabilities."""
    if rows[0]["probability"] is None:
        return ""
    return f", of which about {sum(row['probability'] for row in rows):.0f} are right"


def _line(row: dict[str, Any]) -> str:
    chance = f"{row['score']:9.3f}" if row["probability"] is None else f"{row['probability']:8.1%}"
    return printable(f"{chance}  {row['head_name']} → {row['tail_name']}")


def _written(folder: Path, out: Path | None) -> Path:
    import shutil

    from mmkgc.components.runtime.files import atomic_path
    from mmkgc.serving.review.proposals import FILE

    if out is None:
        return folder / FILE
    with atomic_path(out) as temporary:
        shutil.copyfile(folder / FILE, temporary)
    return out
