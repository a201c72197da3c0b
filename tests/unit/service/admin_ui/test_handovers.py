"""On the page a person takes a conversation over, answers it, and hands it back."""

import json
import re

import pytest

from mirt.store.tables import deliveries, inbox
from service.admin_ui.auth.roles import Role
from tests.deployment import update
from tests.fakes import FakeServices
from tests.unit.business import rows
from tests.unit.service.admin_ui.conftest import Come, Visit
from tests.unit.service.conftest import Ingress

SCRIPT = "<script>alert('ой')</script>"
ADDRESS = "/ops/trace?id=7"


@pytest.fixture
def visit(here: Ingress, come: Come) -> Visit:
    here.post(update(7, 1, "Привіт"))
    return come()


def act(visit: Visit, do: str, **fields: str) -> None:
    done = visit.send("/ops/handovers", do=do, conversation="7", **fields)
    assert done.headers["location"] == ADDRESS


def test_a_person_answers_on_the_page_and_the_customer_gets_it(
    here: Ingress, visit: Visit, services: FakeServices
) -> None:
    assert "The bot answers</h2>" in visit.get(ADDRESS).text
    act(visit, "take over")
    here.post(update(7, 2, f"Є хтось? {SCRIPT}"))
    page = visit.get(ADDRESS).text
    assert "operator answers</h2>" in page
    assert "unanswered" in page
    assert SCRIPT not in page
    act(visit, "say", text="Так, це Олена")
    assert services.sent(7)[-1] == "Так, це Олена"
    page = visit.get(ADDRESS).text
    assert "Your reply is on its way." in page
    assert "Так, це Олена" in page
    assert "unanswered" not in page
    act(visit, "hand back")
    assert "The bot answers</h2>" in visit.get(ADDRESS).text
    here.post(update(7, 3, "Дякую"))
    assert services.sent(7)[-1] == "echo: Дякую"


def test_a_message_that_was_not_on_the_page_is_not_answered_by_the_reply(
    here: Ingress, visit: Visit
) -> None:
    act(visit, "take over")
    here.post(update(7, 2, "Видно"))
    seen = re.search(r'name="seen" value="(\d+)"', visit.get(ADDRESS).text)
    assert seen is not None
    here.post(update(7, 3, "Не видно"))
    act(visit, "say", text="Так", seen=seen[1])
    states = {row.text: row.state for row in rows(here.runtime.database, inbox)}
    assert states == {"Привіт": "answered", "Видно": "answered", "Не видно": "waiting"}


def test_a_form_that_is_sent_twice_says_it_once(
    here: Ingress, visit: Visit, services: FakeServices
) -> None:
    act(visit, "take over")
    reply = re.search(r'name="reply" value="([^"]+)"', visit.get(ADDRESS).text)
    assert reply is not None
    for _ in range(2):
        act(visit, "say", text="Так", reply=reply[1])
    assert services.sent(7).count("Так") == 1


def test_a_reader_sees_the_state_and_neither_texts_nor_forms(
    here: Ingress, visit: Visit, come: Come
) -> None:
    act(visit, "take over")
    here.post(update(7, 2, "Таємниця"))
    reader = come(Role.READER)
    page = reader.get(ADDRESS).text
    assert "operator answers</h2>" in page
    assert "Таємниця" not in page
    assert "/ops/handovers" not in page
    assert reader.send("/ops/handovers", do="hand back", conversation="7").status_code == 403
    assert "operator answers" in reader.get("/ops").text


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"do": "hand back", "conversation": "7"}, "the bot answers 7 already"),
        ({"do": "say", "conversation": "7", "text": "Так"}, "take it over first"),
        ({"do": "take over", "conversation": "8"}, "there is none with the id 8"),
        ({"do": "sing", "conversation": "7"}, "must be take over, say or hand back"),
    ],
)
def test_an_act_that_is_impossible_is_explained(
    visit: Visit, fields: dict[str, str], why: str
) -> None:
    refused = visit.send("/ops/handovers", **fields)
    assert refused.status_code == 400
    assert why in refused.text


def test_a_form_of_another_site_takes_nothing_over(here: Ingress, visit: Visit) -> None:
    refused = visit.post("/ops/handovers", {"do": "take over", "conversation": "7"})
    assert refused.status_code == 403
    assert "The bot answers</h2>" in visit.get(ADDRESS).text


def test_a_conversation_that_asks_for_a_person_is_on_the_first_page_with_its_reason(
    here: Ingress, come: Come, services: FakeServices
) -> None:
    services.llm.calls = lambda _: [("ask_a_person", json.dumps({"reason": f"скарга {SCRIPT}"}))]
    here.post(update(7, 1, "Людину!"))
    here.post(update(7, 2, "Ви тут?"))
    visit = come()
    page = visit.get("/ops").text
    assert "With a person" in page
    assert "asks for a person" in page
    assert "скарга" in page
    assert SCRIPT not in page
    assert "1 message, the oldest" in page
    assert "asks for a person" in visit.get("/ops/conversations?kind=handed_over").text
    assert "The agent asks for a person</h2>" in visit.get(ADDRESS).text
    assert "скарга" not in come(Role.READER).get("/ops").text


def test_the_timeline_tells_the_takeover_the_words_of_the_person_and_what_was_withheld(
    here: Ingress, visit: Visit
) -> None:
    act(visit, "take over")
    act(visit, "say", text="Це Олена")
    act(visit, "hand back")
    page = visit.get(ADDRESS).text
    for told in (
        "operator took the conversation over: the bot is silent",
        "operator wrote to the customer",
        "operator handed the conversation back to the bot",
    ):
        assert told in page
    assert [row.said_by for row in rows(here.runtime.database, deliveries)].count("operator") == 1
