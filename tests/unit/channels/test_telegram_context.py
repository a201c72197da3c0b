"""A message brings along its reply, quote, forward and the links behind its words."""

from typing import Any

import pytest

from mirt.channels.telegram.context import points_at
from tests.unit.channels.test_telegram_inbound import parsed, update

OFFER = "Сукня Зірка, 104, 499 грн"
BOT = {"id": 1, "is_bot": True}
CUSTOMER = {"id": 42, "is_bot": False}


def context(**message: Any) -> str | None:
    return points_at({"from": CUSTOMER, "text": "беру цю", **message})


def test_a_message_that_points_at_nothing_has_no_notes() -> None:
    assert context() is None
    assert "points_at" not in parsed(update(text="беру цю")).metadata


@pytest.mark.parametrize(
    ("author", "label"),
    [
        (BOT, "у відповідь на повідомлення консультанта"),
        (CUSTOMER, "у відповідь на власне повідомлення"),
        ({"id": 9, "is_bot": False}, "у відповідь на"),
    ],
)
def test_a_reply_says_what_it_answers_and_whose(author: dict[str, Any], label: str) -> None:
    replied = {"message_id": 3, "from": author, "text": OFFER}
    assert context(reply_to_message=replied) == f"[{label}: «{OFFER}»]"


def test_a_quote_is_told_instead_of_the_whole_message() -> None:
    replied = {"message_id": 3, "from": BOT, "text": f"Є три: {OFFER}; …"}
    told = context(reply_to_message=replied, quote={"text": OFFER, "position": 7})
    assert told == f"[у відповідь на повідомлення консультанта: «{OFFER}»]"


@pytest.mark.parametrize(
    ("replied", "told"),
    [
        ({"photo": [{"file_id": "f"}], "caption": OFFER}, f"фото, «{OFFER}»"),
        ({"photo": [{"file_id": "f"}]}, "фото"),
        ({"voice": {"file_id": "f"}}, "голосове повідомлення"),
        ({"contact": {"phone_number": "+380501112233"}}, "«(контакт: +380501112233)»"),
    ],
)
def test_a_reply_to_a_file_names_it(replied: dict[str, Any], told: str) -> None:
    assert context(reply_to_message=replied) == f"[у відповідь на: {told}]"


def test_a_long_message_is_told_with_its_first_300_characters() -> None:
    told = context(reply_to_message={"text": "а" * 4096}) or ""
    assert "а" * 299 + "…" in told
    assert len(told) < 400


def test_a_reply_to_another_chat_says_where_from() -> None:
    origin = {"type": "channel", "chat": {"title": "MIRT kids"}}
    reply = {"origin": origin, "photo": [{"file_id": "f"}]}
    assert context(external_reply=reply) == "[у відповідь на: «MIRT kids», фото]"
    assert context(external_reply=reply, quote={"text": OFFER}) == (
        f"[у відповідь на: «MIRT kids», «{OFFER}»]"
    )


def test_a_reply_to_a_story_is_told() -> None:
    assert context(reply_to_story={"id": 1, "chat": {"id": 5}}) == "[у відповідь на: історія]"


@pytest.mark.parametrize(
    ("origin", "told"),
    [
        ({"type": "channel", "chat": {"title": "MIRT kids"}}, "[переслано: «MIRT kids»]"),
        ({"type": "chat", "sender_chat": {"title": "Мами"}}, "[переслано: «Мами»]"),
        ({"type": "user", "sender_user": {"first_name": "Оля"}}, "[переслано: Оля]"),
        ({"type": "hidden_user", "sender_user_name": "Оля"}, "[переслано: Оля]"),
        ({}, "[переслано]"),
    ],
)
def test_a_forward_says_whose_words_it_has(origin: dict[str, Any], told: str) -> None:
    assert context(forward_origin=origin) == told


def test_links_behind_words_are_told_up_to_three() -> None:
    entities = [
        {"type": "text_link", "offset": 0, "length": 4, "url": f"https://mirt.example/{number}"}
        for number in (104, 104, 110, 116, 122)
    ]
    told = context(entities=[*entities, {"type": "bold"}, {"type": "text_link", "url": "tg://x"}])
    urls = ", ".join(f"https://mirt.example/{number}" for number in (104, 110, 116))
    assert told == f"[посилання: {urls}]"


@pytest.mark.parametrize("value", [None, [], "x", 5, {}, {"text": 5}, {"origin": 3}])
@pytest.mark.parametrize("name", ["reply_to_message", "external_reply", "quote", "forward_origin"])
def test_context_of_another_shape_costs_nothing(name: str, value: object) -> None:
    assert parsed(update(text="беру цю", **{name: value})).text == "беру цю"
