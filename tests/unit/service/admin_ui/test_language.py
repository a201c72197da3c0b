"""The shop's part of the page is in Ukrainian for those who want it."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from mirt.store.shop.deliveries import DeliveryState
from service.admin.orders import REASONS, WORDS
from service.admin_ui import ukrainian
from service.admin_ui.language import ENGLISH, UKRAINIAN, relative
from service.admin_ui.pages.orders import STATES
from service.admin_ui.templates import PAGES, TEMPLATES
from tests.deployment import update
from tests.unit.service.admin_ui.conftest import Come

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ASKED_FOR = {"Accept-Language": "uk-UA,uk;q=0.9,en;q=0.8"}


def written() -> set[str]:
    """Return every text that a template or a table of ours gives to ``_``."""
    sources = "\n".join(file.read_text() for file in TEMPLATES.glob("*.html"))
    found = set(re.findall(r"""\b_\((["'])(.+?)\1[,)]""", sources))
    texts = {text for _quote, text in found}
    titles = re.search(r"for title in \(([^)]*)\)", sources)
    assert titles is not None
    texts |= set(re.findall(r'"([^"]+)"', titles[1]))
    texts |= {name for _, name in PAGES} | {*STATES.values(), *WORDS.values(), *REASONS.values()}
    return (
        texts
        | {"not delivered", "the customer has blocked us", "removed"}
        | {state.value for state in DeliveryState if state is DeliveryState.WITHHELD}
    )


def test_every_text_has_its_ukrainian_one_and_none_is_left_over() -> None:
    assert written() - ukrainian.TEXTS.keys() == set()
    assert ukrainian.TEXTS.keys() - written() == set()


def test_a_translation_has_the_places_of_its_text() -> None:
    for english, text in ukrainian.TEXTS.items():
        places = [sorted(re.findall(r"%\(\w+\)s|%%", one)) for one in (english, text)]
        assert places[0] == places[1], english


@pytest.mark.parametrize(
    ("number", "form"),
    [(1, 0), (2, 1), (4, 1), (5, 2), (0, 2), (11, 2), (12, 2), (21, 0), (24, 1), (111, 2)],
)
def test_a_noun_follows_its_number(number: int, form: int) -> None:
    assert ukrainian.form_of(number, ("0", "1", "2")) == str(form)


def test_a_page_is_english_unless_asked_otherwise(come: Come) -> None:
    text = come().get("/ops/today").text
    assert '<html lang="en">' in text
    assert "Conversations and replies" in text


def test_a_page_is_in_the_language_of_the_browser(come: Come) -> None:
    text = come().get("/ops/today", headers=ASKED_FOR).text
    assert '<html lang="uk">' in text
    assert "Розмови й відповіді" in text
    assert "Conversations and replies" not in text


def test_a_language_that_was_chosen_stays(come: Come) -> None:
    visit = come()
    text = visit.get("/ops/orders?state=created&lang=uk").text
    assert "Усі замовлення" in text
    assert 'href="/ops/orders?state=created&amp;lang=en"' in text
    assert "Розмови й відповіді" in visit.get("/ops/today").text
    visit.get("/ops/today?lang=en")
    assert "Conversations and replies" in visit.get("/ops/today", headers=ASKED_FOR).text


def test_times_are_told_in_ukrainian_units(come: Come) -> None:
    visit = come()
    visit.here.post(update(7, 1, "Привіт"))
    text = visit.get("/ops/today?lang=uk").text
    assert "За 60 с" in text
    assert "Within" not in text


@pytest.mark.parametrize("language", ["de", "", "<script>"])
def test_a_language_that_the_page_does_not_have_is_english(come: Come, language: str) -> None:
    answer = come().get(f"/ops/today?lang={language}", headers={"Accept-Language": "de"})
    assert '<html lang="en">' in answer.text
    assert "mirt_language" not in answer.cookies


@pytest.mark.parametrize(
    ("seconds", "english", "text"),
    [
        (0, "now", "щойно"),
        (42, "42 s ago", "42 с тому"),
        (-600, "in 10 min", "через 10 хв"),
        (7200, "2 h ago", "2 год тому"),
        (-259_200, "in 3 d", "через 3 дн"),
    ],
)
def test_a_distance_in_time_is_told_in_both(seconds: int, english: str, text: str) -> None:
    at = NOW - timedelta(seconds=seconds)
    assert relative(at, NOW, ENGLISH) == english
    assert relative(at, NOW, UKRAINIAN) == text
