"""The explorer page in a real browser."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmkgc.serving.api.gateway.app import create_app
from mmkgc.serving.engine.engine import Engine

pytestmark = pytest.mark.service("chromium")

KEY = "0123456789abcdef"
DOWN, ENTER, TAB = "\ue015", "\ue007", "\ue004"
NAMES = "#predictions .name"


@pytest.fixture(scope="module")
def url(engine_model, serve) -> Iterator[str]:
    with serve(create_app(engine_model, [KEY])) as url:
        yield url


@pytest.fixture
def page(browser, url):
    """The page, opened with a key (it starts with the first entity), at the answers of Entity 1."""
    browser.resize(1200, 900)
    browser.open(f"{url}/#key={KEY}")
    browser.wait(lambda: browser.texts("#model"), "the model's name")
    browser.type("#search", "entity 1")
    browser.wait(lambda: browser.texts("#found li"), "search results")
    browser.press(ENTER)
    browser.wait(lambda: browser.texts(NAMES) and "Entity 1 " in browser.texts("#question")[0] + " ", "its predictions")
    return browser


def expected(engine, **query) -> list[str]:
    (answer,) = engine.answer([query])
    return [prediction["name"] for prediction in answer["predictions"]]


def first(engine) -> str:
    """The entity that the page begins with: the head of most facts."""
    heads = Counter(engine.bundle.known.triples[:, 0].tolist())
    best = min(heads, key=lambda entity: (-heads[entity], entity))
    return engine.bundle.entities.names[best]


def asked(page) -> tuple[str, str]:
    """Relation and side of the pressed button."""
    (text,) = page.texts("#relations [aria-pressed=true]")
    text = (
        text.removesuffix(count[0]).strip() if (count := page.texts("#relations [aria-pressed=true] .count")) else text
    )
    side = "tail" if text.endswith("→") else "head"
    return text.strip("←→ "), side


def test_the_key_leaves_the_address_and_a_wrong_one_is_told(browser, url):
    browser.open(f"{url}/#key=wrong")
    assert browser.wait(lambda: browser.texts("#login-error"), "the refusal") == ["This key is not known."]
    browser.type("#key", KEY + ENTER)
    browser.wait(lambda: browser.texts("#model"), "the model's name")
    assert "key" not in browser.script("return location.href")


def test_keyboard_alone_finds_an_entity_a_relation_and_walks_on(page, engine):
    relation, side = asked(page)
    given = {"tail": "head", "head": "tail"}[side]
    assert page.texts(NAMES) == expected(engine, **{given: "e1", "relation": relation})
    place, name = next((i, name) for i, name in enumerate(page.texts(NAMES)) if not name.startswith("Entity 1"))
    page.script("document.querySelectorAll('#predictions button')[arguments[0]].focus()", place)
    page.press(ENTER)
    page.wait(lambda: page.texts("#entity-name") == [name], "the next entity")
    page.wait(lambda: name in page.texts("#question")[0], "its answers")
    assert page.texts("#walk button") == [first(engine), "Entity 1"]
    page.script("history.back()")
    page.wait(lambda: page.texts("#entity-name") == ["Entity 1"], "the way back")


def test_arrow_keys_move_through_the_search(page):
    page.type("#search", "twin")
    page.wait(lambda: len(page.texts("#found li")) == 2, "both twins")
    page.press(DOWN, ENTER)
    page.wait(lambda: page.texts("#entity-about") == ["river · e8"], "the second twin")


def test_known_answers_are_marked(page, engine):
    relation, side = asked(page)
    page.click("#known")
    given = {"tail": "head", "head": "tail"}[side]
    wanted = engine.answer([{given: "e1", "relation": relation, "exclude_known": False}])[0]["predictions"]
    known = [prediction["name"] for prediction in wanted if prediction["known"]]
    page.wait(lambda: page.texts(".badge") == ["known"] * len(known), "the marks")
    figures = page.texts("#predictions .figure")
    shown = ["known" if one["known"] else f"{100 * one['probability']:.1f} %" for one in wanted]
    assert figures == shown  # in place of a probability, which would mean nothing


def test_known_answers_stand_above_the_list(page, engine):
    counts = [int(text) for text in page.texts("#relations .count")]
    known = engine.bundle.known.triples
    assert sum(counts) == int((known[:, 0] == 1).sum() + (known[:, 2] == 1).sum())
    relation, side = asked(page)
    given = {"tail": "head", "head": "tail"}[side]
    query = {given: "e1", "relation": relation, "exclude_known": False, "k": 40}
    wanted = {one["name"] for one in engine.answer([query])[0]["predictions"] if one["known"]}
    assert set(page.texts("#known-answers .link")) == wanted
    page.click("#known-answers .link")
    page.wait(lambda: page.texts("#entity-name")[0] in wanted, "a known answer")


def test_no_answer_of_the_question_before_is_shown_while_waiting(page):
    page.script("window.fetch = () => new Promise(() => {})")  # the gateway does not answer any more
    before = page.texts("#question")
    page.click("#relations button:last-child")
    page.wait(lambda: page.texts("#question") != before, "the next question")
    assert page.texts(NAMES) == []
    assert page.texts("#status") == ["…"]


def test_the_colours_of_the_bars_are_named(page):
    assert page.texts("#modalities")[0].endswith("structure textual visual")


def test_the_page_of_the_api_shows_every_route_and_sends_an_example(page, url):
    page.open(f"{url}/docs/")
    routes = page.wait(lambda: page.texts("#routes h2"), "the routes")
    assert "POST /v1/complete" in routes
    assert "GET /v1/entity" in routes
    example = "document.getElementById('post-/v1/complete').querySelector('.try')"
    page.script(f"{example}.open = true")
    assert "curl -X POST" in page.script(f"return {example}.querySelector('pre').textContent")
    page.script(
        f"{example}.querySelector('textarea').value = arguments[0]", '{"queries": [{"head": "e1", "relation": "r1"}]}'
    )
    page.script(f"{example}.querySelector('button').click()")
    told = f"{example}.querySelector('pre:last-child').textContent"
    page.wait(lambda: page.script(f"return {told}").startswith("200"), "the answer")
    assert '"predictions"' in page.script(f"return {told}")
    page.resize(360, 740)
    assert page.script("return document.documentElement.scrollWidth") <= 360
    assert page.errors() == []


def test_shares_and_support_are_shown(page):
    page.click(".why summary")
    text = page.wait(lambda: page.texts(".why[open]"), "the reasons")[0]
    assert "structure" in text
    assert text.count("→") == 3


def test_every_button_of_a_relation_asks_its_own_question(page, engine):
    buttons = page.texts("#relations button")
    assert len(buttons) == 10
    page.click("#relations button:last-child")
    relation, side = asked(page)
    given = {"tail": "head", "head": "tail"}[side]
    wanted = expected(engine, **{given: "e1", "relation": relation})
    page.wait(lambda: page.texts(NAMES) == wanted, "other answers")


def test_nothing_spills_over_on_a_phone(page, tmp_path: Path):
    page.resize(360, 740)
    assert page.script("return document.documentElement.scrollWidth") <= 360
    assert page.texts(NAMES)


def test_no_outside_request_and_no_error(page, url):
    loaded = page.script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert loaded
    assert all(name.startswith((url, "blob:")) for name in loaded)
    assert page.errors() == []


def test_without_encoders_no_unseen_entity_is_offered(page):
    assert page.texts("#unseen") == []


@pytest.mark.slow
def test_a_text_tries_an_unseen_entity(browser, reading_bundle, serve, in_process):
    text = "A quiet town on the bank of a wide river."
    engine = Engine(reading_bundle)
    browser.resize(1200, 900)
    with serve(create_app(in_process(engine), [KEY])) as url:
        browser.open(f"{url}/#key={KEY}")
        browser.wait(lambda: browser.texts("#question"), "the first question")
        browser.click("#unseen summary")
        browser.type("#text", text)
        browser.click("#use-unseen")
        browser.wait(lambda: browser.texts(NAMES) and "quiet town" in browser.texts("#question")[0], "its answers")
        relation, side = asked(browser)
        given = {"tail": "head", "head": "tail"}[side]
        assert browser.texts(NAMES) == expected(engine, **{given: {"text": text}, "relation": relation})


def test_numbers_try_an_unseen_entity(browser, counting_folder, serve, in_process):
    engine = Engine.load(counting_folder)
    browser.resize(1200, 900)
    with serve(create_app(in_process(engine), [KEY])) as url:
        browser.open(f"{url}/#key={KEY}")
        browser.wait(lambda: browser.texts("#question"), "the first question")
        browser.click("#unseen summary")
        browser.click("#use-unseen")
        assert browser.texts("#status") == ["Give a number first."]
        names = browser.script("return [...document.querySelectorAll('#numbers-names option')].map(o => o.value)")
        assert names == ["founded", "population"]
        browser.type(".pairs .name", "population")
        browser.type(".pairs .value", "5400")
        browser.type(".pairs > div:last-child .name", "founded")
        browser.type(".pairs > div:last-child .value", "1510-01-01")
        browser.click("#use-unseen")
        there = lambda: "population 5400, founded" in " ".join(browser.texts("#question")) and browser.texts(NAMES)  # noqa: E731
        browser.wait(there, "its answers")
        relation, side = asked(browser)
        given = {"tail": "head", "head": "tail"}[side]
        unseen = {"numbers": {"population": 5400, "founded": "1510-01-01"}}
        assert browser.texts(NAMES) == expected(engine, **{given: unseen, "relation": relation})
        assert browser.errors() == []
