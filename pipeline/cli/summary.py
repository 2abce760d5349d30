"""What a run ends with: how good the model is, answers with their reasons, and a fact that may be missing."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmkgc.components.runtime.errors import printable
from mmkgc.components.runtime.nouns import counted
from mmkgc.pipeline.cli.chances import frequency

ASKED, SHOWN = 100, 3
"""Predictions requested and shown; known answers are filtered out in between."""
Queries = Sequence[Mapping[str, Any]]
Answers = Sequence[Mapping[str, Any]]
Ask = Callable[[Queries], Answers]


def start(provenance: Mapping[str, Any]) -> Iterator[str]:
    """What the training of a bundle began with, and whether it came to anything; nothing if it began from zero."""
    if not (found := provenance.get("start")):
        return
    kept = counted(found["entities"], "entity keeps its vector", "entities keep their vectors")
    yield printable(
        f"began with {found['model']}: {kept}; new: {found['new_entities']:,}, gone: {found['removed_entities']:,}"
    )
    if provenance.get("best_epoch") == 0:
        yield (
            "no epoch was better on the development split, so the model is kept as it began; a lower "
            "train.optimizer.lr changes it less"
        )


def scores(metrics: Mapping[str, Any]) -> Iterator[str]:
    """The metrics of the test split beside those of the baselines, one line each."""
    rows = {f"model, {side}": metrics["metrics"]["realistic"][side] for side in ("both", "head", "tail")}
    if own := metrics.get("without_self"):
        rows["model, own entity left out"] = own["both"]
    for baseline in filter(None, (metrics["baseline"], metrics.get("nearest"))):
        rows[f"{baseline['name']}, both"] = baseline["both"]
    names = [name for name in rows["model, both"] if name == "mrr" or name.startswith("hits") or name == "mr"]
    yield f"{'test split, filtered':<28}" + "".join(f"{name:>11}" for name in names)
    for label, values in rows.items():
        yield f"{label:<28}" + "".join(f"{values[name]:>11.3f}" for name in names)


def completions(asked: Queries, ask: Ask) -> Iterator[str]:
    """Test queries with the model's best answers, the gold answer, and the reasons of the first.

    ``asked``: the content of ``completions.json``, whose probabilities are those that the model gives while the graph
    lacks the gold answer of the test triple. ``ask`` sends queries to a model and returns its answers. Known answers
    are left out, except the gold one.
    """
    parts = [{part: one[part] for part in ("head", "relation")} for one in asked]
    answers = ask([query | {"k": ASKED, "exclude_known": False} for query in parts])
    ranked = [
        [found for found in answer["predictions"] if not found["known"] or found["key"] == one["gold_key"]]
        for one, answer in zip(asked, answers, strict=True)
    ]
    pairs = zip(parts, ranked, strict=True)
    firsts = [query | {"tail": found[0]["key"], "explain": True} for query, found in pairs if found]
    whys = iter(ask(firsts) if firsts else ())
    for one, found in zip(asked, ranked, strict=True):
        yield ""
        yield f"  {printable(one['query'])}"
        yield from _answers(one, found, next(whys) if found else {})


def _answers(one: Mapping[str, Any], found: Answers, why: Mapping[str, Any]) -> Iterator[str]:
    gold = one["gold_key"]
    chances = {answer["key"]: answer["probability"] for answer in one["answers"]} | {gold: one["probability"]}
    for place, prediction in enumerate(found, start=1):
        if place <= SHOWN or prediction["key"] == gold:
            mark = "  ✓ the fact that was held out" if prediction["key"] == gold else ""
            chance = _chance(chances.get(prediction["key"], prediction["probability"]))
            yield f"  {place:>4}. {printable(prediction['name']):<32}{chance}{mark}"
        if place == 1:
            yield from reasons(why)
    if gold not in [prediction["key"] for prediction in found]:
        chance = _chance(one["probability"])
        yield f"  {one['rank']:>4g}. {printable(one['gold']):<32}{chance}  ✓ the fact that was held out"


def reasons(why: Mapping[str, Any]) -> Iterator[str]:
    """Why a triple is plausible: the most similar facts of the graph, and what each modality contributes."""
    like = [" ".join(printable(fact[part]["name"]) for part in ("head", "relation", "tail")) for fact in why["support"]]
    if like:
        yield f"        like  {' · '.join(like)}"
    if why["shares"]:
        yield "        by    " + ", ".join(f"{name} {share:.0%}" for name, share in why["shares"].items())


def proposal(folder: Path) -> Iterator[str]:
    """The first of the proposals in ``folder``, of the relation whose held-out facts they find best, with reasons.

    Beside it, how many of such proposals are right by their probability, and how many were if facts were held out.
    """
    import pyarrow.parquet as pq

    from mmkgc.serving.review.proposals import FILE, SUMMARY

    rows = pq.read_table(folder / FILE).to_pylist()
    if not rows:
        return
    summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    hidden, missing = summary["hide_and_seek"] or {"relations": {}}, summary["missing"]
    counts = hidden["relations"]
    precision = {key: one["found"] / max(one["kept"], 1) for key, one in counts.items()}
    best = max(rows, key=lambda row: (row["probability"] or 0, precision.get(row["relation"], 0), row["score"]))
    relation = {"name": best["relation_name"]}
    support = [
        {"head": {"name": near["head_name"]}, "relation": relation, "tail": {"name": near["tail_name"]}}
        for near in best["support"]
    ]
    yield f"{counted(len(rows), 'fact')} may be missing in the graph; the most probable one:"
    yield ""
    yield f"  {'  '.join(printable(best[f'{part}_name']) for part in ('head', 'relation', 'tail'))}"
    yield from reasons({"support": support, "shares": dict(best["shares"] or {})})
    if best["probability"] is not None:
        right = frequency(best["probability"])
        yield f"        {right} of such proposals are right, if the graph lacks {missing:.0%} of its facts"
    if one := counts.get(best["relation"]):
        share = f"{one['found']} of {one['kept']} ({precision[best['relation']]:.0%})"
        yield f"        of such proposals made without the held-out facts, {share} are held-out facts"


def _chance(probability: float | None) -> str:
    return f"{probability:6.1%}" if probability is not None else f"{'':>6}"
