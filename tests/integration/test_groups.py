"""In a group the bot answers what addresses it, in the topic and to the message of its author."""

from collections.abc import Callable
from typing import Any

import pytest
from falcon.testing import TestClient

from mirt.runtime import current_runtime
from mirt.texts import APOLOGY
from service.app import create_app
from tests.deployment import SECRET, update
from tests.fakes import FakeServices, Status
from tests.integration.conftest import Running

Post = Callable[[dict[str, Any]], dict[str, Any]]
TOPIC = {"is_topic_message": True, "message_thread_id": 12}
CHAT = {"id": -100500, "type": "supergroup", "is_forum": True}


def asks(text: str, number: int, member: int, **message: Any) -> dict[str, Any]:
    """A message of a member that begins with the bot's name."""
    entity = {"type": "mention", "offset": 0, "length": len("@fake_bot")}
    sender = {"id": member, "is_bot": False, "first_name": f"Member {member}"}
    rest = {"entities": [entity], "from": sender, **message}
    return in_group(update(7, number, f"@fake_bot {text}", **rest))


def in_group(private: dict[str, Any]) -> dict[str, Any]:
    """The same update in a group."""
    return private | {"message": private["message"] | {"chat": CHAT}}


@pytest.fixture
def post(run: Callable[..., Running], services: FakeServices) -> Post:
    run("eager", telegram_groups="addressed")
    client = TestClient(create_app(current_runtime()))

    def send(body: dict[str, Any]) -> dict[str, Any]:
        headers = {"X-Telegram-Bot-Api-Secret-Token": SECRET}
        answer = client.simulate_post("/webhooks/telegram", json=body, headers=headers)
        assert answer.status_code == 200
        return dict(answer.json)

    return send


def sent(services: FakeServices) -> list[dict[str, Any]]:
    return [request.body for request in services.requests("telegram", "/sendMessage")]


def test_an_answer_stands_in_the_topic_of_its_question_and_names_it(
    post: Post, services: FakeServices
) -> None:
    post(asks("є 104?", 5, member=42, **TOPIC))
    (body,) = sent(services)
    assert (body["chat_id"], body["message_thread_id"]) == (-100500, 12)
    assert body["reply_parameters"]["message_id"] == 5


def test_an_answer_outside_of_a_topic_names_none(post: Post, services: FakeServices) -> None:
    post(asks("є 104?", 5, member=42))
    (body,) = sent(services)
    assert "message_thread_id" not in body


def test_an_apology_stands_in_the_topic_too(post: Post, services: FakeServices) -> None:
    services.misbehave("llm", Status(400))
    post(asks("є 104?", 5, member=42, **TOPIC))
    (body,) = sent(services)
    assert (body["text"], body["message_thread_id"]) == (APOLOGY, 12)
    assert body["reply_parameters"]["message_id"] == 5


def test_no_member_is_told_what_another_has_said(post: Post, services: FakeServices) -> None:
    post(asks("мій телефон 0501112233", 5, member=42))
    post(asks("що ви знаєте?", 6, member=43))
    assert "0501112233" not in services.requests("llm")[-1].text


def test_members_who_talk_to_each_other_cost_nothing(post: Post, services: FakeServices) -> None:
    talk = in_group(update(7, 5, "хто завтра на зміні?"))
    assert post(talk) == {"status": "ignored", "kind": "chat:group"}
    assert services.requests("llm") == []


def test_a_private_chat_is_as_before(post: Post, services: FakeServices) -> None:
    post(update(7, 1, "Привіт"))
    (body,) = sent(services)
    assert body == {"chat_id": 7, "text": "echo: Привіт"}
