"""The page's view of proposals in a real browser."""

from pathlib import Path

import pytest

from mmkgc.serving.api.gateway.app import create_app
from mmkgc.serving.review.decisions import Decisions, Status
from mmkgc.serving.review.proposals import Proposals

pytestmark = pytest.mark.service("chromium")

KEY = "0123456789abcdef"
DOWN, UP = "\ue015", "\ue013"
CARDS = "#proposals > li"


@pytest.fixture
def proposals(proposals_file, tmp_path) -> Proposals:
    return Proposals(proposals_file, Decisions(tmp_path / "decisions.jsonl"))


@pytest.fixture
def url(engine_model, serve, proposals):
    with serve(create_app(engine_model, [KEY], proposals=proposals)) as url:
        yield url


@pytest.fixture
def page(browser, url):
    browser.resize(1200, 900)
    browser.open(f"{url}/#view=proposals&key={KEY}")
    browser.wait(lambda: browser.texts(CARDS), "proposals")
    return browser


def labels(page) -> list[str]:
    return page.script(f"return [...document.querySelectorAll('{CARDS}')].map(e => e.getAttribute('aria-label'))")


def statuses(page) -> list[str]:
    return page.script(f"return [...document.querySelectorAll('{CARDS}')].map(e => e.className)")


def current(page) -> int:
    return page.script(f"return [...document.querySelectorAll('{CARDS}')].indexOf(document.activeElement)")


def named(proposals, count=50, **wanted):
    found = proposals.page(wanted.get("relation"), wanted.get("status", Status.OPEN), count, 0).proposals
    return [f"{one.head.name} {one.relation.name} {one.tail.name}" for one in found]


def test_proposals_are_listed_with_chances_and_reasons(page, proposals):
    assert labels(page) == named(proposals)
    first = proposals.page(None, None, 1, 0).proposals[0]
    assert page.texts(f"{CARDS} .figure")[0] == f"{100 * first.probability:.1f} %"
    page.click(f"{CARDS} .why summary")
    text = page.wait(lambda: page.texts(".why[open]"), "the reasons")[0]
    assert text.count("→") == len(first.support)
    assert "key=" not in page.script("return location.href")


def test_the_keyboard_alone_moves_accepts_rejects_and_takes_back(page, proposals):
    wanted = named(proposals)
    page.press("a")
    page.wait(lambda: statuses(page)[0] == "accepted", "the first to be accepted")
    page.wait(lambda: current(page) == 1, "the next one")
    page.press("r")
    page.wait(lambda: statuses(page)[1] == "rejected" and current(page) == 2, "the second to be rejected")
    page.press("k", UP, "j")
    page.wait(lambda: current(page) == 1, "the second again")
    page.press("u")
    page.wait(lambda: statuses(page)[1] == "open" and current(page) == 1, "the decision to be taken back")
    page.press(DOWN, "r")
    page.wait(lambda: statuses(page)[2] == "rejected", "the third to be rejected")
    assert named(proposals, status=Status.ACCEPTED) == [wanted[0]]
    assert named(proposals, status=Status.REJECTED) == [wanted[2]]
    assert "mmkgc propose export" in page.texts("#export")[0]


def test_undo_takes_back_the_last_decision_and_no_other_card_changes(page, proposals):
    wanted = named(proposals)
    page.press("u")
    page.wait(lambda: "no decision" in page.texts("#review-status")[0], "a word that there is nothing to undo")
    for place, key in enumerate("arar"):
        page.press(key)
        page.wait(lambda place=place: current(page) == place + 1, "the next card")
    page.press("u")  # the focus is on the fifth card, which nobody has decided
    page.wait(lambda: current(page) == 3, "the last one decided")
    assert statuses(page)[:5] == ["accepted", "rejected", "accepted", "open", "open"]
    page.click(f"{CARDS}:nth-child(1) .reopen")
    page.wait(lambda: statuses(page)[0] == "open", "another one taken back by its button")
    page.press("u")
    page.wait(lambda: statuses(page)[2] == "open", "the last that is left")
    page.press("u")
    page.wait(lambda: statuses(page)[1] == "open", "the one before")
    page.press("u")
    page.wait(lambda: "no decision" in page.texts("#review-status")[0], "a word that all are undone")
    assert named(proposals) == wanted


def test_buttons_decide_and_filters_show_what_was_decided(page, proposals):
    wanted = named(proposals)
    page.click(f"{CARDS}:nth-child(2) .reject")
    page.wait(lambda: statuses(page)[1] == "rejected", "the decision")
    page.click("#statuses button:nth-child(3)")
    page.wait(lambda: labels(page) == [wanted[1]], "the rejected ones")
    page.click(f"{CARDS} .reopen")
    page.wait(lambda: statuses(page) == ["open"], "the decision taken back")
    page.click("#statuses button:nth-child(1)")
    page.wait(lambda: labels(page) == wanted, "the open ones")
    page.click("#review-relations button:nth-child(3)")
    page.wait(lambda: labels(page) == named(proposals, relation="r1"), "one relation")


def test_more_are_shown_on_demand_and_none_is_left_out(page, proposals):
    wanted = named(proposals, 200)
    assert len(wanted) > 50
    page.press("a")
    page.wait(lambda: statuses(page)[0] == "accepted", "a decision")
    page.click("#more")
    page.wait(lambda: len(labels(page)) > 50, "more proposals")
    assert labels(page) == wanted[: len(labels(page))]


def test_an_entity_leads_to_the_explorer_and_back(page):
    page.click(f"{CARDS} .end")
    page.wait(lambda: page.texts("#predictions .name"), "its predictions")
    assert page.texts("#review") == []
    page.click("#to-proposals")
    page.wait(lambda: page.texts(CARDS), "the proposals again")


def test_nothing_spills_over_on_a_phone_and_nothing_comes_from_outside(page, url, tmp_path: Path):
    page.resize(360, 740)
    assert page.script("return document.documentElement.scrollWidth") <= 360
    loaded = page.script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert all(name.startswith((url, "blob:")) for name in loaded)
    assert page.errors() == []
