"""Decisions are kept for good, whoever writes them and whatever breaks."""

import multiprocessing
import os
import signal
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from mmkgc.serving.review.decisions import Decisions, Status

LABEL = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)
ENTRIES = st.lists(st.tuples(st.tuples(LABEL, LABEL, LABEL), st.sampled_from(Status)), max_size=8)


@settings(deadline=None)
@given(ENTRIES)
def test_the_last_decision_on_a_triple_holds_after_a_restart(tmp_path_factory, entries):
    path = tmp_path_factory.mktemp("log") / "decisions.jsonl"
    log = Decisions(path)
    for triple, status in entries:
        log.append(triple, status, {"reviewer": 0})
    expected = dict(entries)
    for read in (log.refresh(), Decisions(path).refresh()):
        assert {triple: read.status(triple) for triple in expected} == expected
    assert log.status(("no", "such", "triple")) is Status.OPEN


def test_a_torn_line_loses_itself_alone(tmp_path):
    log = Decisions(tmp_path / "decisions.jsonl")
    log.append(("a", "r", "b"), Status.ACCEPTED, {})
    with log.path.open("ab") as file:
        file.write(b'{"head": "c", "relation": "r", "ta')  # the power went off
    again = Decisions(log.path).refresh()
    assert set(again.latest) == {("a", "r", "b")}
    again.append(("c", "r", "d"), Status.REJECTED, {})
    for read in (again.refresh(), Decisions(log.path).refresh(), log.refresh()):
        assert set(read.latest) == {("a", "r", "b"), ("c", "r", "d")}


def test_what_is_no_decision_is_passed_over(tmp_path):
    path = tmp_path / "decisions.jsonl"
    path.write_text('[]\n7\n{"head": ["x"], "relation": "r", "tail": "t", "status": "open"}\n{"head": "h"}\n\n')
    assert Decisions(path).refresh().latest == {}


def _review(path: Path, reviewer: int, go, count: int) -> None:
    log = Decisions(path)
    go.wait()
    for number in range(count):
        log.append((f"h{number}", "r", f"t{reviewer}"), Status.ACCEPTED, {"reviewer": reviewer})


def test_reviewers_at_once_lose_nothing_and_a_kill_loses_no_earlier_decision(tmp_path):
    context = multiprocessing.get_context("spawn")
    path, go, count = tmp_path / "decisions.jsonl", context.Event(), 150
    reviewers = [context.Process(target=_review, args=(path, number, go, count)) for number in range(3)]
    victim = context.Process(target=_review, args=(path, 3, go, 100_000))
    for process in (*reviewers, victim):
        process.start()
    go.set()
    for process in reviewers:
        process.join(120)
    os.kill(victim.pid, signal.SIGKILL)
    victim.join()
    log = Decisions(path).refresh()
    for number in range(3):
        assert all(log.status((f"h{each}", "r", f"t{number}")) is Status.ACCEPTED for each in range(count))
    log.append(("last", "r", "t"), Status.REJECTED, {})
    assert log.refresh().status(("last", "r", "t")) is Status.REJECTED
