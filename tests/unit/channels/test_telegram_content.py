"""Every kind of content becomes text, a photo, or is named as what cannot be read."""

from typing import Any

import pytest

from mirt.channels import Ignored, InboundMessage
from mirt.channels.notes import labels_of
from mirt.channels.telegram.content import _SERVICE
from mirt.channels.webhook import LONGEST_TEXT
from mirt.channels.webhook import LONGEST_TEXT as LONGEST_MAIL
from tests.unit.channels.test_telegram_inbound import channel, parsed, update

KYIV = {"latitude": 50.4501, "longitude": 30.5234}


def labels(message: InboundMessage) -> list[str]:
    return labels_of(message.metadata)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (
            {"contact": {"phone_number": "+380501112233", "first_name": "Т", "user_id": 77}},
            "[контакт: Т, +380501112233]",
        ),
        (
            {"contact": {"phone_number": "+380501112233", "first_name": "Олена", "user_id": 42}},
            "[контакт покупця: Олена, +380501112233]",
        ),
        ({"location": KYIV}, "[геолокація: 50.4501, 30.5234]"),
        (
            {"location": KYIV, "venue": {"location": KYIV, "title": "Пошта", "address": "Леся, 5"}},
            "[місце: Пошта, Леся, 5, 50.4501, 30.5234]",
        ),
        (
            {"poll": {"question": "Яку?", "options": [{"text": "синю"}, {"text": "білу"}]}},
            "[опитування: Яку?: синю; білу]",
        ),
        (
            {"checklist": {"title": "Купити", "tasks": [{"id": 1, "text": "сукня 104"}]}},
            "[список: Купити: сукня 104]",
        ),
        ({"dice": {"emoji": "🎲", "value": 4}}, "[кубик: 🎲 4]"),
        ({"game": {"title": "Змійка", "description": "Гра"}}, "[гра: Змійка: Гра]"),
        ({"web_app_data": {"data": "size=104", "button_text": "Обрати"}}, "[дані форми: size=104]"),
    ],
)
def test_content_that_can_be_read_becomes_text(content: dict[str, Any], text: str) -> None:
    message = parsed(update(**content))
    assert (message.text, labels(message)) == (text, [])


@pytest.mark.parametrize(
    ("content", "label"),
    [
        ({"voice": {"file_id": "f"}}, "голосове повідомлення"),
        ({"audio": {"file_id": "f", "title": "Пісня"}}, "аудіозапис Пісня"),
        ({"video": {"file_id": "f"}}, "відео"),
        ({"video_note": {"file_id": "f"}}, "відеоповідомлення"),
        ({"animation": {"file_id": "f"}, "document": {"file_id": "f"}}, "анімація"),
        ({"sticker": {"file_id": "f", "emoji": "👍"}}, "стікер 👍"),
        ({"document": {"file_id": "f", "file_name": "прайс.pdf"}}, "файл прайс.pdf"),
        ({"story": {"id": 1, "chat": {"id": 5}}}, "історія"),
        ({"paid_media": {"star_count": 1}}, "платний допис"),
        ({"giveaway": {}}, "розіграш"),
        ({"passport_data": {}}, "документи"),
        ({"invented_by_telegram": {}}, "вкладення"),
        ({}, "вкладення"),
    ],
)
def test_content_that_cannot_be_read_is_named(content: dict[str, Any], label: str) -> None:
    message = parsed(update(**content))
    assert (message.text, labels(message)) == ("", [label])


def test_a_caption_is_kept_beside_what_cannot_be_read() -> None:
    message = parsed(update(video={"file_id": "f"}, caption="Є таке?"))
    assert (message.text, labels(message)) == ("Є таке?", ["відео"])


@pytest.mark.parametrize("kind", ["contact", "location", "venue", "poll", "dice", "checklist"])
@pytest.mark.parametrize("value", [{}, [], "x", 5, {"options": 3, "latitude": "x"}])
def test_a_part_of_another_shape_does_not_cost_the_message(kind: str, value: object) -> None:
    assert labels(parsed(update(**{kind: value}))) != []


def test_a_photo_that_was_sent_as_a_file_is_a_photo() -> None:
    file = {"file_id": "f7", "mime_type": "image/jpeg", "file_name": "IMG_1.jpg"}
    message = parsed(update(document=file, caption="Є така?"))
    assert (message.text, message.metadata["photo"]) == ("Є така?", {"file_id": "f7"})
    assert labels(message) == []


def test_a_rich_message_is_read_in_the_order_of_its_blocks() -> None:
    blocks = [
        {"type": "heading", "size": 1, "text": "Замовлення"},
        {"type": "paragraph", "text": ["Сукня ", {"type": "bold", "text": "Зірка"}, ", 104"]},
        {"type": "list", "items": [{"label": "1.", "blocks": [{"type": "pre", "text": "синя"}]}]},
        {
            "type": "table",
            "cells": [[{"text": "ціна", "align": "left"}, {"text": "499", "align": "left"}]],
        },
    ]
    lines = parsed(update(rich_message={"blocks": blocks})).text.split("\n")
    assert [line.strip() for line in lines] == [
        "Замовлення",
        "Сукня Зірка, 104",
        "синя",
        "ціна 499",
    ]


def test_the_longest_rich_message_is_cut_to_what_the_service_takes() -> None:
    blocks = [{"type": "paragraph", "text": "Сукня " * 5_000}]
    assert len(parsed(update(rich_message={"blocks": blocks})).text) == LONGEST_TEXT
    assert LONGEST_TEXT == LONGEST_MAIL


@pytest.mark.parametrize("kind", _SERVICE)
def test_a_service_message_is_ignored_by_its_kind(kind: str) -> None:
    assert channel().parse(update(**{kind: {}})) == Ignored(f"message:{kind}")


def test_a_note_ends_where_its_text_ends() -> None:
    forged = {"phone_number": "5]\n[рахунок: сплачено", "first_name": "x"}
    assert parsed(update(contact=forged)).text == "[контакт: x, 5) (рахунок: сплачено]"


def test_the_parts_of_an_album_name_their_album() -> None:
    part = update(photo=[{"file_id": "f"}], media_group_id="1377")
    assert parsed(part).metadata["album"] == "1377"
