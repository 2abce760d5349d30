"""The end of a run: metrics beside the baselines, answers with reasons, a proposal."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmkgc.pipeline.cli import summary
from mmkgc.serving.review.proposals import FILE, SCHEMA, SUMMARY

GOLD = "✓ the fact that was held out"


def prediction(index, **given):
    return {"key": f"p{index}", "name": f"P {index}", "score": -1.0, "probability": 0.4, "known": False} | given


def asked(**given):
    one = {
        "query": "(a, knows, ?)",
        "head": "a",
        "relation": "knows",
        "gold": "J. Smith",
        "gold_key": "p2",
        "rank": 3.0,
        "probability": 0.3,
        "answers": [],
    }
    return one | given


def answering(predictions, **why):
    """A model with these answers to queries, and ``why`` for triples."""

    def ask(queries):
        reasons = {"support": [], "shares": None} | why
        return [reasons if "tail" in query else {"predictions": predictions} for query in queries]

    return ask


def test_known_answers_are_left_out_and_of_one_name_only_the_answer_is_gold():
    predictions = [prediction(i, name="J. Smith", known=i in (0, 2)) for i in range(6)]
    lines = list(summary.completions([asked()], answering(predictions)))
    assert [line.split(".")[0].strip() for line in lines if GOLD in line] == ["2"]  # after p1; p0 is known
    assert sum("J. Smith" in line for line in lines) == summary.SHOWN
    (line,) = [
        line for line in summary.completions([asked(gold_key="p9", rank=7.5)], answering(predictions)) if GOLD in line
    ]
    assert line.startswith("   7.5. J. Smith")


def test_the_first_answer_has_its_reasons():
    like = {part: {"name": part} for part in ("head", "relation", "tail")}
    ask = answering([prediction(1), prediction(2)], support=[like, like], shares={"textual": 0.7, "visual": 0.3})
    lines = list(summary.completions([asked()], ask))
    first = next(place for place, line in enumerate(lines) if "P 1" in line)
    assert "40.0%" in lines[first]
    assert lines[first + 1].strip() == "like  head relation tail · head relation tail"
    assert lines[first + 2].strip() == "by    textual 70%, visual 30%"
    assert GOLD in lines[first + 3]


def test_chances_are_those_that_the_model_gives_while_the_graph_lacks_the_held_out_fact():
    served = [prediction(2, probability=None, known=True), prediction(1, probability=0.9)]  # the graph holds p2
    evaluated = [{"key": "p2", "probability": 0.6}, {"key": "p1", "probability": 0.2}]
    lines = list(summary.completions([asked(probability=0.6, answers=evaluated)], answering(served)))
    gold, other = (next(line for line in lines if name in line) for name in ("P 2", "P 1"))
    assert "60.0%" in gold
    assert GOLD in gold
    assert "20.0%" in other


def test_a_query_without_unknown_answers_is_told():
    lines = list(summary.completions([asked(gold_key="p9")], answering([prediction(1, known=True)])))
    assert GOLD in lines[-1]


def test_scores_name_each_baseline_that_there_is():
    values = {"mr": 2.0, "mrr": 0.5, "hits_at_1": 0.4}
    metrics = {
        "metrics": {"realistic": dict.fromkeys(("both", "head", "tail"), values)},
        "baseline": {"name": "relation popularity", "both": values},
    }
    assert [line.split("  ")[0] for line in summary.scores(metrics | {"nearest": None})][1:] == [
        "model, both", "model, head", "model, tail", "relation popularity, both"
    ]  # fmt: skip
    with_texts = metrics | {"nearest": {"name": "nearest text", "both": values}}
    assert list(summary.scores(with_texts))[-1].split() == ["nearest", "text,", "both", "2.000", "0.500", "0.400"]


@pytest.mark.parametrize(
    ("found", "best"), [({"r": 1, "s": 4}, "B likes T"), ({"r": 4, "s": 1}, "A knows T"), ({}, "A knows T")]
)
def test_a_proposal_is_the_first_of_the_relation_that_is_proposed_best(found, best, tmp_path):
    near = {"head": "n", "head_name": "N", "tail": "m", "tail_name": "M"}
    shared = {"tail": "t", "tail_name": "T", "rank": 1, "shares": None, "probability": None, "support": [near]}
    shared |= dict.fromkeys(("model", "version", "bundle"), "x")
    rows = [
        shared
        | {"id": name, "head": name, "head_name": name, "relation": key, "relation_name": relation, "score": score}
        for name, key, relation, score in (("C", "s", "likes", 1.0), ("A", "r", "knows", 3.0), ("B", "s", "likes", 2.0))
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), tmp_path / FILE)
    hidden = {"relations": {key: {"found": count, "kept": 10} for key, count in found.items()}}
    (tmp_path / SUMMARY).write_text(json.dumps({"hide_and_seek": hidden if found else None, "missing": 0.05}))
    count, _, proposed, like, *precision = summary.proposal(tmp_path)
    assert count.startswith("3 facts may be missing")
    assert proposed.split() == best.split()
    assert like.split() == ["like", "N", best.split()[1], "M"]
    assert [("4 of 10 (40%)" in line) for line in precision] == [True] * bool(found)


def test_names_cannot_order_the_terminal_about():
    evil = "\x1b[2Jname\x07"
    lines = list(
        summary.completions([asked(query=evil, gold=evil, gold_key="p9")], answering([prediction(1, name=evil)]))
    )
    assert sum(r"\x1b[2Jname\x07" in line for line in lines) == 3
    assert not any("\x1b[2J" in line for line in lines)
