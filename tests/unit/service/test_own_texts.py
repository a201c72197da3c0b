"""Another shop speaks with its own words, everywhere."""

from pathlib import Path
from typing import Any

import pytest

from actors.followups import send_followup
from actors.summarization import summarize_session
from mirt.texts import OUR_TEXTS
from tests.deployment import update
from tests.fakes import FakeServices, Status
from tests.unit.service.conftest import Ingress, Open

TEXTS = """
greeting = "Welcome to the book shop."
apology = "We could not answer."
order_taken = "We have your order."
ask_for_order = "Please tell us: {fields}"
followups = ["Are you still reading?"]
summary_prompt = "Sum up the talk about books."

[order_fields]
phone = "phone number"
items = "books"
"""


@pytest.fixture
def shop(ingress: Open, tmp_path: Path) -> Ingress:
    """A shop with its own texts and its own prompt."""
    files = {"texts_file": tmp_path / "texts.toml", "prompt_file": tmp_path / "prompt.txt"}
    files["texts_file"].write_text(TEXTS)
    files["prompt_file"].write_text("You sell books.\n")
    return ingress(followup_delays_hours="24", **files)


def asked(services: FakeServices) -> list[Any]:
    return [request.body["messages"] for request in services.requests("llm")]


def test_the_greeting_is_the_shops(shop: Ingress, services: FakeServices) -> None:
    shop.post(update(7, 1, "/start"))
    assert services.sent(7) == ["Welcome to the book shop."]


def test_the_llm_gets_the_shops_prompt(shop: Ingress, services: FakeServices) -> None:
    shop.post(update(7, 1, "Hello"))
    assert asked(services)[0][0] == {"role": "system", "content": "You sell books."}


def test_the_apology_is_the_shops(shop: Ingress, services: FakeServices) -> None:
    services.misbehave("llm", Status(400))
    shop.post(update(7, 1, "Hello"))
    assert services.sent(7) == ["We could not answer."]


def test_an_incomplete_order_is_asked_for_in_the_shops_words(
    shop: Ingress, services: FakeServices
) -> None:
    services.llm.calls = lambda _: [("create_order", "{}")]
    shop.post(update(7, 1, "I take it"))
    [reply] = services.sent(7)
    assert reply.startswith("Please tell us: ")
    assert "books" in reply


def test_a_followup_is_the_shops(shop: Ingress, services: FakeServices) -> None:
    shop.post(update(7, 1, "Hello"))
    send_followup.send("7")
    assert services.sent(7)[-1] == "Are you still reading?"
    assert set(services.sent(7)).isdisjoint(OUR_TEXTS.followups)


def test_a_summary_follows_the_shops_instructions(shop: Ingress, services: FakeServices) -> None:
    shop.post(update(7, 1, "Hello"))
    summarize_session.send("7")
    assert asked(services)[-1][0]["content"] == "Sum up the talk about books."
