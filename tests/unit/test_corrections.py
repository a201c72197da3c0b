"""A customer who edits a message is answered as they have written it last."""

from collections.abc import Iterator
from typing import Any

import pytest

from mirt.store.engine.database import Database
from mirt.store.tables import inbox
from tests.unit.business import mail, rows
from tests.unit.turns.conftest import Shop, open_shop


@pytest.fixture
def shop(database: Database) -> Iterator[Shop]:
    with open_shop(database) as opened:
        yield opened


def edit(text: str, *, at: int = 10, task_id: str = "e1", **values: Any) -> Any:
    """The edit of the message 5."""
    values = {"message_id": f"5:{task_id}", **values}
    metadata = {"edit_of": "5", "edited_at": at, **values.pop("metadata", {})}
    return mail(task_id, text, metadata=metadata, **values)


def texts(shop: Shop) -> list[str]:
    return [row.text for row in rows(shop.database, inbox)]


def asked(shop: Shop) -> list[str]:
    return shop.agent.asked[-1][0]


def test_a_message_that_waits_is_answered_as_it_is_now(shop: Shop) -> None:
    shop.receive("t1", text="Київ, відділення 5", message_id="5")
    accepted = shop.conversations.accept(edit("Київ, відділення 7"))
    assert (accepted.task_id, accepted.duplicate, accepted.publication) == ("t1", False, None)
    shop.answer(mail("t1", "Київ, відділення 5"))
    assert asked(shop) == ["Київ, відділення 7"]
    assert len(shop.shown) == 1


def test_an_edit_after_the_answer_is_told_as_a_correction(shop: Shop) -> None:
    shop.receive("t1", text="Київ, відділення 5", message_id="5")
    shop.answer(mail("t1", "Київ, відділення 5"))
    letter = edit("Київ, відділення 7")
    assert shop.conversations.accept(letter).publication is not None
    shop.answer(letter)
    assert asked(shop)[-1] == (
        "[покупець виправив попереднє повідомлення, ось воно тепер]\nКиїв, відділення 7"
    )


def test_an_edit_while_the_agent_thinks_is_answered_next(shop: Shop) -> None:
    shop.receive("t1", text="відділення 5", message_id="5")
    letter = edit("відділення 7")
    shop.agent.meanwhile = lambda: shop.conversations.accept(letter)
    shop.answer(mail("t1", "відділення 5"))
    assert asked(shop) == ["відділення 5"]
    shop.agent.meanwhile = lambda: None
    shop.answer(letter)
    assert asked(shop)[-1].endswith("відділення 7")


def test_an_edit_that_changes_no_word_makes_no_turn(shop: Shop) -> None:
    shop.receive("t1", text="відділення 5", message_id="5")
    shop.answer(mail("t1", "відділення 5"))
    accepted = shop.conversations.accept(edit("відділення 5"))
    assert (accepted.task_id, accepted.duplicate) == ("t1", True)
    assert texts(shop) == ["відділення 5"]


@pytest.mark.parametrize("is_answered", [False, True])
def test_a_second_copy_of_an_edit_changes_nothing(shop: Shop, is_answered: bool) -> None:
    shop.receive("t1", text="відділення 5", message_id="5")
    if is_answered:
        shop.answer(mail("t1", "відділення 5"))
    shop.conversations.accept(edit("відділення 7"))
    before = texts(shop)
    assert shop.conversations.accept(edit("відділення 7")).duplicate
    assert texts(shop) == before


def test_an_older_edit_does_not_undo_a_later_one(shop: Shop) -> None:
    shop.receive("t1", text="відділення 5", message_id="5")
    shop.conversations.accept(edit("відділення 7", at=20, task_id="e2"))
    assert shop.conversations.accept(edit("відділення 6", at=10)).duplicate
    assert texts(shop) == ["відділення 7"]


def test_a_correction_that_waits_can_be_edited_again(shop: Shop) -> None:
    shop.receive("t1", text="відділення 5", message_id="5")
    shop.answer(mail("t1", "відділення 5"))
    first = edit("відділення 6")
    shop.conversations.accept(first)
    shop.conversations.accept(edit("відділення 7", at=20, task_id="e2"))
    shop.answer(first)
    assert asked(shop)[-1].endswith("тепер]\nвідділення 7")


def test_a_caption_of_a_photo_can_be_edited(shop: Shop) -> None:
    photo = {"photo": {"file_id": "f"}}
    shop.receive("t1", text="", message_id="5", metadata={**photo, "first_name": "Оля"})
    shop.conversations.accept(edit("Є така?", metadata=photo))
    shop.answer(mail("t1", "", metadata=photo))
    assert asked(shop) == ["[фото] Є така?"]
    (row,) = rows(shop.database, inbox)
    assert row.metadata["first_name"] == "Оля"


def test_an_edit_of_an_unknown_message_is_a_message(shop: Shop) -> None:
    letter = edit("відділення 7")
    assert shop.conversations.accept(letter).publication is not None
    shop.answer(letter)
    assert asked(shop)[-1].endswith("відділення 7")


def test_the_same_number_in_another_chat_is_another_message(shop: Shop) -> None:
    shop.receive("t1", text="моє", session_id="other", message_id="5")
    shop.conversations.accept(edit("відділення 7"))
    assert texts(shop) == ["моє", "відділення 7"]


def test_a_longer_number_is_another_message(shop: Shop) -> None:
    shop.receive("t1", text="інше", message_id="55")
    shop.conversations.accept(edit("відділення 7"))
    assert texts(shop)[0] == "інше"
