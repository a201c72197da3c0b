"""ManyChat from webhook to reply: both shapes, double clicks, tags, and its 24 hours."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from falcon.testing import Result, TestClient

from actors.followups import send_followup
from actors.messages import mark_customer
from broker.task import registry
from mirt.channels.manychat import ManyChatChannel
from mirt.runtime import current_runtime
from mirt.texts import APOLOGY, FOLLOWUP_TEXTS
from service import dispatcher
from service.app import create_app
from tests.clock import FakeClock
from tests.fakes import FakeServices, Status, TooMany
from tests.integration.conftest import Running

TOKEN = {"X-ManyChat-Token": "flow-token"}
MANYCHAT = {"manychat_api_key": "mc-key", "manychat_verify_token": "flow-token"}
Post = Callable[..., Result]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def post(run: Callable[..., Running], services: FakeServices, clock: FakeClock) -> Post:
    """Post to a shop on ManyChat whose work is done at once."""
    run("eager", clock=clock, manychat_api_url=services.manychat_url, **MANYCHAT)
    client = TestClient(create_app(current_runtime()))

    def send(body: Any, headers: dict[str, str] = TOKEN) -> Result:
        return client.simulate_post("/webhooks/manychat", json=body, headers=headers)

    return send


def says(text: str, **message: Any) -> dict[str, Any]:
    return {"subscriber": {"id": "42", "name": "Оля"}, "message": {"text": text, **message}}


@pytest.mark.parametrize(
    "body", [says("Є сукня?"), {"clientId": "42", "message": "Є сукня?", "type": "instagram"}]
)
def test_requests_of_both_shapes_are_answered_with_a_content(
    post: Post, services: FakeServices, body: Any
) -> None:
    answer = post(body)
    assert (answer.status_code, answer.json) == (200, {"status": "accepted"})
    (sent,) = services.requests("manychat", "/fb/sending/sendContent")
    assert sent.headers["authorization"] == "Bearer mc-key"
    assert sent.body == {
        "subscriber_id": "42",
        "data": {
            "version": "v2",
            "content": {
                "type": "instagram",
                "messages": [{"type": "text", "text": "echo: Є сукня?"}],
            },
        },
    }


@pytest.mark.parametrize("headers", [{}, {"X-ManyChat-Token": "другий".encode().hex()}])
def test_a_caller_without_the_token_is_refused(post: Post, headers: dict[str, str]) -> None:
    assert post(says("Є сукня?"), headers).status_code == 401


def test_without_a_token_in_production_everybody_is_refused(
    run: Callable[..., Running], rabbitmq_url: str, redis_url: str, database_url: str
) -> None:
    run("rabbitmq", work=False)
    client = TestClient(create_app(current_runtime()))
    for headers in ({}, {"X-ManyChat-Token": ""}, {"Authorization": "Bearer "}):
        answer = client.simulate_post("/webhooks/manychat", json=says("Привіт"), headers=headers)
        assert answer.status_code == 401


@pytest.mark.parametrize("message", [{}, None])
def test_a_message_that_says_nothing_is_refused_by_its_field(post: Post, message: Any) -> None:
    answer = post({"subscriber": {"id": "42"}, "message": message})
    assert (answer.status_code, answer.json["error"]) == (400, "INVALID_INPUT")
    assert "message.text" in answer.json["message"]


def test_the_same_id_again_is_a_duplicate_however_late(
    post: Post, services: FakeServices, clock: FakeClock
) -> None:
    post(says("Є сукня?", id="m-1"))
    clock.advance(hours=1)
    assert post(says("Є сукня?", id="m-1")).json["duplicate"]
    assert len(services.sent("42")) == 1


def test_without_an_id_the_same_text_within_five_seconds_is_a_double_click(
    post: Post, services: FakeServices, clock: FakeClock
) -> None:
    post(says("Так"))
    clock.advance(seconds=4)
    assert post(says("Так")).json == {"status": "accepted", "duplicate": True}
    assert "duplicate" not in post(says("Ні")).json
    clock.advance(seconds=2)
    assert "duplicate" not in post(says("Так")).json
    assert services.sent("42") == ["echo: Так", "echo: Ні", "echo: Так"]


def test_two_clicks_at_the_same_moment_are_one(
    run: Callable[..., Running], services: FakeServices
) -> None:
    run("rabbitmq", work=False, manychat_api_url=services.manychat_url, **MANYCHAT)
    channel = current_runtime().channels["manychat"]
    message: Any = channel.parse(says("Так"))

    def click(_: int) -> bool:
        answer = dispatcher.dispatch_message(
            message.session_id,
            message.text,
            "manychat",
            message.chat_id,
            metadata=dict(message.metadata),
            fire_and_forget=True,
        )
        return bool(answer["duplicate"])

    with ThreadPoolExecutor(8) as customers:
        duplicates = list(customers.map(click, range(8)))
    assert duplicates.count(False) == 1


def test_the_same_id_on_two_platforms_is_two_conversations(
    post: Post, services: FakeServices
) -> None:
    dispatcher.dispatch_message("42", "Мене звати Ігор", "telegram", "42", fire_and_forget=True)
    post(says("Як мене звати?"))
    assert "Ігор" not in services.requests("llm")[-1].text
    assert services.manychat.sent == [("42", "echo: Як мене звати?")]


def test_a_refusal_is_not_tried_again(post: Post, services: FakeServices) -> None:
    refusal = {"status": "error", "message": "outside of the 24 hours window"}
    services.misbehave("manychat", Status(200, refusal), times=None)
    post(says("Є сукня?"))
    assert len(services.requests("manychat")) == 1


def test_a_reply_that_manychat_asks_to_delay_is_sent_afterwards(
    post: Post, services: FakeServices
) -> None:
    services.misbehave("manychat", TooMany(1))
    post(says("Є сукня?"))
    assert services.sent("42") == ["echo: Є сукня?"]


def test_a_reminder_goes_to_manychat_within_its_window_only(
    post: Post, services: FakeServices, clock: FakeClock
) -> None:
    results = registry.broker.get_results_backend()
    post(says("Є сукня?"))
    clock.advance(hours=23.9)
    assert results.get_result(send_followup.send("42"))["channel"] == "manychat"
    clock.advance(hours=0.1)
    skipped = results.get_result(send_followup.send("42"))
    assert skipped == {"status": "skipped", "session_id": "42", "reason": "window_closed"}
    assert len(services.sent("42")) == 2


PLATFORMS = [("instagram", "instagram"), ("facebook", None), ("whatsapp", "whatsapp")]


@pytest.mark.parametrize(("kind", "content_type"), [*PLATFORMS, ("telegram", "telegram")])
def test_replies_apologies_and_reminders_have_the_type_of_the_customer_s_platform(
    post: Post, services: FakeServices, clock: FakeClock, kind: str, content_type: str | None
) -> None:
    post(says("Є сукня?") | {"type": kind})
    services.misbehave("llm", Status(400))
    post(says("Є 104?") | {"type": kind})
    clock.advance(hours=23)
    send_followup.send("42")
    sent = services.requests("manychat", "/fb/sending/sendContent")
    types = [request.body["data"]["content"].get("type") for request in sent]
    assert types == [content_type] * 3
    assert services.sent("42")[1:] == [APOLOGY, FOLLOWUP_TEXTS[0]]


def test_a_customer_on_telegram_behind_manychat_is_reminded_after_a_day(
    post: Post, services: FakeServices, clock: FakeClock
) -> None:
    post(says("Є сукня?") | {"type": "telegram"})
    clock.advance(hours=30)
    sent = registry.broker.get_results_backend().get_result(send_followup.send("42"))
    assert sent["status"] == "sent"


@pytest.mark.parametrize("kind", ["audio", "story_mention"])
def test_a_file_without_words_gets_one_honest_sentence(
    post: Post, services: FakeServices, kind: str
) -> None:
    attachment = {"type": kind, "payload": {"url": "https://cdn.example/1"}}
    answer = post({"subscriber": {"id": "42"}, "message": {"attachments": [attachment]}})
    assert answer.status_code == 200
    (text,) = services.sent("42")
    assert "словами" in text
    assert services.requests("llm") == []


def test_tags_and_fields_are_kept_by_manychat(post: Post, services: FakeServices) -> None:
    post(says("Є сукня?"))
    services.manychat.tags["42"].add("new")
    mark_customer.send("manychat", "42", {"size": "110"}, ["buyer"], ["new"])
    assert services.manychat.tags["42"] == {"buyer"}
    assert services.manychat.fields["42"] == {"size": "110"}


def test_telegram_keeps_no_marks(post: Post) -> None:
    outcome = registry.broker.get_results_backend().get_result(
        mark_customer.send("telegram", "42", {}, ["buyer"])
    )
    assert outcome["status"] == "skipped"


def test_marks_are_set_again_after_a_failure(post: Post, services: FakeServices) -> None:
    services.misbehave("manychat", Status(502), path="/fb/subscriber/addTagByName")
    mark_customer.send("manychat", "42", None, ["buyer"])
    assert services.manychat.tags["42"] == {"buyer"}


def test_manychat_is_the_channel_and_not_its_stand_in(post: Post) -> None:
    assert isinstance(current_runtime().channels["manychat"], ManyChatChannel)
