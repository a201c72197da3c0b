"""The LLM is told all that came with a message; a customer learns what it could not read."""

from typing import Any

import pytest

from mirt.channels.notes import unread
from mirt.store.tables import deliveries, history
from mirt.store.tables import turns as turns_table
from mirt.texts import GREETING
from tests.unit.business import mail, rows
from tests.unit.turns.conftest import Shop

VOICE: dict[str, Any] = {"unread": [unread("voice")]}
PHOTO: dict[str, Any] = {"photo": {"file_id": "f"}}


def say(shop: Shop, task_id: str, text: str = "", **metadata: Any) -> None:
    """Receive a message with this content and answer it."""
    letter = mail(task_id, text, metadata=metadata)
    accepted = shop.conversations.accept(letter)
    if accepted.publication is not None:
        shop.answer(letter)


def asked(shop: Shop) -> list[str]:
    """Return the lines of the conversation that the agent was asked about last."""
    return shop.agent.asked[-1][0]


def heard(shop: Shop) -> list[tuple[str, str]]:
    return [(row.role, row.content) for row in rows(shop.database, history)]


def test_a_message_with_nothing_to_read_gets_one_honest_sentence_unasked(shop: Shop) -> None:
    say(shop, "t1", **VOICE)
    assert shop.agent.asked == []
    [(_, text)] = shop.shown
    assert "голосове повідомлення" in text
    assert "словами" in text
    (turn,) = rows(shop.database, turns_table)
    assert (turn.model, turn.completion_tokens) == ("notice", 0)


def test_the_agent_learns_of_it_from_the_history(shop: Shop) -> None:
    say(shop, "t1", **VOICE)
    say(shop, "t2", "Є 104?")
    assert asked(shop) == [
        "[надійшло, але відкрити не можна: голосове повідомлення]",
        shop.shown[0][1],
        "Є 104?",
    ]


def test_several_at_once_get_one_sentence_that_names_each_kind_once(shop: Shop) -> None:
    shop.receive("t1", text="", metadata=VOICE)
    shop.receive("t2", text="", metadata=VOICE)
    shop.receive("t3", text="", metadata={"unread": [unread("sticker", "👍")]})
    shop.answer(mail("t1", "", metadata=VOICE))
    [(_, text)] = shop.shown
    assert "голосове повідомлення, стікер 👍." in text


def test_with_words_beside_it_the_agent_is_asked_and_told(shop: Shop) -> None:
    say(shop, "t1", "Ось чек", unread=[unread("document", "чек.pdf")])
    assert asked(shop) == ["[надійшло, але відкрити не можна: файл чек.pdf] Ось чек"]


def test_with_a_photo_beside_it_the_agent_is_asked(shop: Shop) -> None:
    shop.receive("t1", text="", metadata=PHOTO)
    shop.receive("t2", text="", metadata=VOICE)
    shop.answer(mail("t1", "", metadata=PHOTO))
    assert asked(shop)[0] == "[фото]"


def test_the_note_of_a_reply_stands_on_a_line_before_the_text(shop: Shop) -> None:
    say(shop, "t1", "беру цю", points_at="[у відповідь на: «Сукня Зірка, 104, 499 грн»]")
    assert asked(shop) == ["[у відповідь на: «Сукня Зірка, 104, 499 грн»]\nберу цю"]


def test_the_parts_of_an_album_are_one_line_of_one_turn(shop: Shop) -> None:
    for number, text in enumerate(("Є такі?", "", "")):
        part = mail(f"p{number}", text, metadata={**PHOTO, "album": "1377"})
        assert shop.conversations.accept(part).publication is None
        shop.clock.advance(seconds=0.3)
    shop.clock.advance(seconds=4)
    shop.answer(mail("p0", "Є такі?", metadata={**PHOTO, "album": "1377"}))
    assert asked(shop) == ["[фото] [фото] [фото] Є такі?"]
    assert len(shop.shown) == 1
    assert [role for role, _ in heard(shop)] == ["user", "assistant"]


def test_an_album_that_comes_while_the_agent_thinks_is_waited_for_too(shop: Shop) -> None:
    part = mail("p0", "", metadata={**PHOTO, "album": "1377"})
    shop.agent.meanwhile = lambda: shop.conversations.accept(part)
    shop.receive("t1")
    outcome = shop.answer("t1")
    assert (outcome.to_publish, shop.head()) == ([], "p0")


def test_two_albums_are_two_lines(shop: Shop) -> None:
    for task_id, album in (("a1", "1"), ("a2", "1"), ("b1", "2")):
        shop.receive(task_id, text="", metadata={**PHOTO, "album": album})
    shop.clock.advance(seconds=4)
    shop.answer(mail("a1", "", metadata={**PHOTO, "album": "1"}))
    assert asked(shop) == ["[фото] [фото]", "[фото]"]


def test_a_message_that_is_no_part_of_an_album_does_not_wait_for_one(shop: Shop) -> None:
    assert shop.conversations.accept(mail("t1", "", metadata=PHOTO)).publication is not None


def test_the_payload_of_a_link_reaches_the_agent_with_the_next_message(shop: Shop) -> None:
    say(shop, "t1", "/start sku_104_blue")
    assert shop.shown == [("7", GREETING)]
    say(shop, "t2", "є такий?")
    assert asked(shop) == [
        "[покупець відкрив чат за посиланням: sku_104_blue]",
        GREETING,
        "є такий?",
    ]


def test_a_link_in_the_middle_of_a_conversation_does_not_empty_it(shop: Shop) -> None:
    say(shop, "t1", "Мене звати Ігор")
    say(shop, "t2", "/start@shop_bot sku_104_blue")
    say(shop, "t3", "є такий?")
    assert asked(shop)[0] == "Мене звати Ігор"


@pytest.mark.parametrize("command", ["/start", "/start ", "/restart", "/restart sku_104_blue"])
def test_a_command_without_a_payload_begins_afresh(shop: Shop, command: str) -> None:
    say(shop, "t1", "Мене звати Ігор")
    say(shop, "t2", command)
    say(shop, "t3", "є такий?")
    assert asked(shop) == ["є такий?"]


@pytest.mark.parametrize("value", ["x", 5, {}, [], [5], [{}], [{"kind": [], "detail": 5}]])
@pytest.mark.parametrize("key", ["unread", "points_at", "album", "edit_of", "edited_at"])
def test_metadata_of_a_caller_of_ours_does_not_break_a_turn(
    shop: Shop, key: str, value: object
) -> None:
    letter = mail("t1", "Є 104?", metadata={key: value})
    shop.conversations.accept(letter)
    shop.clock.advance(seconds=5)
    shop.answer(letter)
    assert asked(shop)[0].endswith("Є 104?")


def test_a_reply_in_a_group_names_the_message_that_it_answers(shop: Shop) -> None:
    say(shop, "t1", "Є 104?", reply_to="5")
    (delivery,) = rows(shop.database, deliveries)
    assert delivery.reply_to == "5"
