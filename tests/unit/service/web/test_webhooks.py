"""The message of a webhook is stored and then accepted, or the answer says why not."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from mirt.store.tables import conversations
from tests.deployment import update
from tests.fakes import FakeServices
from tests.unit.service.conftest import Open


def test_a_message_is_accepted_and_its_customer_gets_a_reply(
    ingress: Open, services: FakeServices
) -> None:
    answer = ingress().post(update(7, 1, "Привіт"))
    assert (answer.status_code, answer.json) == (200, {"status": "accepted"})
    assert len(services.sent(7)) == 1


def test_second_copy_of_an_update_gets_no_second_reply(
    ingress: Open, services: FakeServices
) -> None:
    here = ingress()
    here.post(update(7, 1, "Привіт"))
    answer = here.post(update(7, 1, "Привіт"))
    assert (answer.status_code, answer.json) == (200, {"status": "accepted", "duplicate": True})
    assert len(services.sent(7)) == 1


def test_the_same_message_number_in_another_chat_is_another_message(
    ingress: Open, services: FakeServices
) -> None:
    here = ingress()
    here.post(update(7, 1, "Привіт"))
    assert here.post(update(8, 1, "Привіт")).json == {"status": "accepted"}
    assert (len(services.sent(7)), len(services.sent(8))) == (1, 1)


def test_where_tasks_are_not_enabled_the_reply_is_there_before_the_answer(
    ingress: Open, services: FakeServices
) -> None:
    answer = ingress(TASKS_ENABLED=False).post(update(7, 1, "Привіт"))
    assert answer.json == {"status": "accepted"}
    assert len(services.sent(7)) == 1


def test_everything_that_the_channel_knows_is_handed_over(ingress: Open) -> None:
    handed: dict[str, Any] = {}

    def dispatch(session_id: str, user_message: str, **rest: Any) -> dict[str, Any]:
        handed.update(rest, session_id=session_id, user_message=user_message)
        return {"duplicate": False}

    ingress({"dispatch": dispatch}).post(update(7, 1, "Привіт"))
    metadata = handed.pop("metadata")
    assert handed == {
        "session_id": "7",
        "user_message": "Привіт",
        "platform": "telegram",
        "chat_id": "7",
        "user_id": "7",
        "message_id": "1",
        "fire_and_forget": True,
    }
    assert metadata["update_id"] == update(7, 1, "Привіт")["update_id"]


def test_a_photo_without_words_is_a_message(ingress: Open, services: FakeServices) -> None:
    photo = update(7, 1, "")
    del photo["message"]["text"]
    photo["message"]["photo"] = [{"file_id": "small"}, {"file_id": "large"}]
    assert ingress().post(photo).json == {"status": "accepted"}
    assert len(services.sent(7)) == 1


def test_an_update_that_is_not_for_us_is_not_sent_again(
    ingress: Open, services: FakeServices
) -> None:
    answer = ingress().post({"update_id": 1, "callback_query": {"id": "1"}})
    assert answer.status_code == 200
    assert answer.json == {"status": "ignored", "kind": "callback_query"}
    assert services.sent(7) == []


@pytest.mark.parametrize("blank", ["", " ", "\n\t", "\u00a0"])
def test_a_blank_message_is_not_sent_again(
    ingress: Open, services: FakeServices, blank: str
) -> None:
    answer = ingress().post(update(7, 1, blank))
    assert (answer.status_code, answer.json) == (200, {"status": "ignored", "kind": "empty"})
    assert services.sent(7) == []


def test_the_longest_update_of_telegram_is_answered(ingress: Open, services: FakeServices) -> None:
    words = "Ї" * 4096
    emoji = [
        {"type": "custom_emoji", "offset": n, "length": 1, "custom_emoji_id": "5368324170671202286"}
        for n in range(100)
    ]
    replied = {"message_id": 1, "date": 1_790_000_000, "chat": {"id": 7}, "text": words}
    whole = update(
        7,
        2,
        words,
        entities=emoji,
        reply_to_message={**replied, "entities": emoji},
        quote={"text": words[:1024], "position": 0},
    )
    body = json.dumps(whole).encode()  # as Telegram does: six bytes for a letter
    assert len(body) > 64 * 1024
    assert ingress().post(body).json == {"status": "accepted"}
    assert len(services.sent(7)) >= 1


def test_the_part_of_an_album_is_answered_where_tasks_are_not_enabled_too(
    ingress: Open, services: FakeServices
) -> None:
    part = update(7, 1, "", photo=[{"file_id": "f"}], media_group_id="1377")
    del part["message"]["text"]
    assert ingress(TASKS_ENABLED=False).post(part).json == {"status": "accepted"}
    assert services.sent(7) == ["echo: [фото]"]


def membership(chat: int, status: str, at: int = 1_790_000_000) -> dict[str, Any]:
    return {
        "update_id": 1,
        "my_chat_member": {
            "chat": {"id": chat, "type": "private"},
            "from": {"id": chat, "is_bot": False, "first_name": "Оля"},
            "date": at,
            "old_chat_member": {"status": "member", "user": {"id": 1, "is_bot": True}},
            "new_chat_member": {"status": status, "user": {"id": 1, "is_bot": True}},
        },
    }


def test_the_news_of_a_block_is_recorded(ingress: Open) -> None:
    here = ingress()
    here.post(update(7, 1, "Привіт"))
    later = int(here.runtime.clock().timestamp()) + 60
    answer = here.post(membership(7, "kicked", at=later))
    assert (answer.status_code, answer.json) == (200, {"status": "accepted"})
    with here.runtime.database.transaction() as tx:
        since = tx.execute(select(conversations.c.unreachable_since)).scalar_one()
    assert since == datetime.fromtimestamp(later, UTC)


def test_the_news_of_a_block_by_a_stranger_is_taken(ingress: Open) -> None:
    assert ingress().post(membership(8, "kicked")).status_code == 200


def test_half_of_an_emoji_does_not_cost_the_message(ingress: Open, services: FakeServices) -> None:
    body = (
        rb'{"update_id":1,"message":{"message_id":1,"chat":{"id":7},"text":"\u041e\u043a \ud83d"}}'
    )
    assert ingress().post(body).json == {"status": "accepted"}
    assert len(services.sent(7)) == 1


def test_every_missing_field_is_named(ingress: Open) -> None:
    answer = ingress().post({"message": {"chat": {}}})
    assert answer.status_code == 400
    assert answer.json["error"] == "INVALID_INPUT"
    for name in ("update_id", "message.message_id", "message.chat.id"):
        assert name in answer.json["message"]


def test_a_text_that_is_too_long_is_refused_without_quoting_it(ingress: Open) -> None:
    answer = ingress().post(update(7, 1, "secret words " * 1000))
    assert (answer.status_code, answer.json["error"]) == (400, "INVALID_INPUT")
    assert "secret words" not in answer.text


@pytest.mark.parametrize("secret", [None, "", "wrong", "webhook-secre", "webhook-secret2", "ї"])
def test_a_request_without_the_secret_is_refused(
    ingress: Open, services: FakeServices, secret: str | None
) -> None:
    given = secret.encode().decode("latin-1") if secret else secret
    answer = ingress().post(update(7, 1, "Привіт"), secret=given)
    assert answer.status_code == 401
    assert answer.json == {"error": "UNAUTHORIZED", "message": "the secret is missing or wrong"}
    assert services.sent(7) == []


def test_the_secret_is_asked_for_before_the_body_is_looked_at(ingress: Open) -> None:
    here = ingress()
    for body in (b"not JSON", b"x" * 200_000):
        assert here.post(body, secret="wrong").status_code == 401


def test_without_a_secret_in_the_settings_updates_are_accepted(
    ingress: Open, services: FakeServices
) -> None:
    here = ingress(telegram_webhook_secret=None)
    assert here.post(update(7, 1, "Привіт"), secret=None).json == {"status": "accepted"}
