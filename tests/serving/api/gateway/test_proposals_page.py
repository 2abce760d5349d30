"""The page's view of proposals in a real browser."""

from pathlib import Path

import pytest

from mmkgc.serving.api.gateway.app import create_app
from mmkgc.serving.review.decisions import Decisions, Status
from mmkgc.serving.review.proposals import Proposals, Wanted

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
    found = proposals.page(Wanted(wanted.get("relation"), wanted.get("status", Status.OPEN)), count, 0).proposals
    return [f"{one.head.name} {one.relation.name} {one.tail.name}" for one in found]


def test_proposals_are_listed_with_chances_and_reasons(page, proposals):
    assert labels(page) == named(proposals)
    first = proposals.page(Wanted(), 1, 0).proposals[0]
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


def test_keys_that_are_typed_into_a_field_decide_nothing(page, proposals):
    page.type("#review-search", "a r")
    page.wait(lambda: "q=a+r" in page.script("return location.hash"), "the search")
    assert named(proposals, status=Status.ACCEPTED) == named(proposals, status=Status.REJECTED) == []


def test_a_search_and_a_probability_narrow_the_list(page, proposals):
    everything = named(proposals, 200)
    page.type("#review-search", "twin")
    page.wait(lambda: labels(page) == [one for one in everything if "Twin" in one], "the found ones")
    page.script("const s = document.getElementById('review-search'); s.value = ''; s.dispatchEvent(new Event('input'))")
    page.wait(lambda: labels(page) == everything[:50], "all again")
    page.script("const s = document.getElementById('at-least'); s.value = 0.95; s.dispatchEvent(new Event('change'))")
    page.wait(lambda: "Nothing fits" in page.texts("#review-status")[0], "none that is so probable")


def test_selected_ones_are_decided_together_and_undone_together(page, proposals):
    wanted = named(proposals)
    page.type("#reviewer", "Ann")
    for place in (1, 3):
        page.click(f"{CARDS}:nth-child({place}) .select")
    assert page.texts("#selected") == ["2 selected"]
    page.click("#bulk-decide .reject")
    page.wait(lambda: statuses(page)[:3] == ["rejected", "open", "rejected"], "both")
    assert named(proposals, status=Status.REJECTED) == [wanted[0], wanted[2]]
    assert "by Ann" in page.texts(f"{CARDS}:nth-child(1) .precision")[0]
    page.click(f"{CARDS}:nth-child(2) .triple .relation")
    page.press("u")
    page.wait(lambda: statuses(page)[:3] == ["open"] * 3, "both taken back")
    assert "2 of" not in page.texts("#progress-text")[0]


def test_a_note_and_the_right_entity_go_with_a_rejection(page, proposals):
    first = proposals.page(Wanted(), 1, 0).proposals[0]
    right = next(key for key in ("e3", "e5", "e9") if key not in (first.head.key, first.tail.key))
    page.click(f"{CARDS} .facts summary")
    page.wait(lambda: len(page.texts(".known")) == 2, "both entities")
    page.press("n")
    page.type(f"{CARDS} .note-text", "seen on a map")
    page.type(f"{CARDS} .right", right)
    page.script("document.querySelector('#proposals form').requestSubmit()")
    page.wait(lambda: statuses(page)[0] == "rejected", "the correction")
    (rejected,) = proposals.page(Wanted(status=Status.REJECTED), 1, 0).proposals
    assert (rejected.note, rejected.instead.key) == ("seen on a map", right)
    page.click("#own summary")
    page.wait(lambda: len(page.texts("#stated li")) == 1, "the stated fact")
    assert "1 accepted" in page.texts("#export")[0]


def test_every_field_has_a_name_for_a_screen_reader(page):
    page.click("#own summary")
    page.click(f"{CARDS} .remark summary")
    unnamed = """return [...document.querySelectorAll('#review :is(input, select, button, progress)')]
        .filter(e => !e.labels?.length && !e.ariaLabel && !e.textContent.trim()).map(e => e.outerHTML)"""
    assert page.script(unnamed) == []
