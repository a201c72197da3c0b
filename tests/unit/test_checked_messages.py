"""A message that may not enter a mailbox is refused by the names of all its wrong fields."""

import re
from typing import Any

import pytest

from mirt.channels import InboundMessage
from mirt.channels.webhook import LONGEST_TEXT
from mirt.conversations import LONGEST_ID, Conversations
from mirt.errors import ErrorCode, PermanentError
from mirt.store.engine.database import Database
from mirt.store.shop.mailbox import Mail
from mirt.task_names import TaskName
from tests.clock import FakeClock
from tests.unit.business import conversations_of, message


@pytest.fixture
def conversations(database: Database) -> Conversations:
    return conversations_of(database, FakeClock(), platforms=["telegram", "manychat"])


def checked(
    conversations: Conversations,
    inbound: InboundMessage,
    *,
    actor: str = TaskName.PROCESS_AND_RESPOND,
) -> Mail:
    return conversations.checked(inbound, task_id="t1", actor=actor, trace_id="trace")


def refused(
    conversations: Conversations,
    inbound: InboundMessage,
    *,
    actor: str = TaskName.PROCESS_AND_RESPOND,
) -> PermanentError:
    with pytest.raises(PermanentError) as refusal:
        checked(conversations, inbound, actor=actor)
    return refusal.value


def fields(refusal: PermanentError) -> list[str]:
    return re.findall(r"(?:^|; )(\w+):", refusal.message)


def test_a_right_message_becomes_mail_with_nothing_lost(conversations: Conversations) -> None:
    inbound = message("привіт 🎈", user_id="9", message_id="5", metadata={"username": "o"})
    assert checked(conversations, inbound) == Mail(
        task_id="t1",
        session_id="s",
        actor=TaskName.PROCESS_AND_RESPOND,
        text="привіт 🎈",
        platform="telegram",
        trace_id="trace",
        chat_id="7",
        user_id="9",
        message_id="5",
        metadata={"username": "o"},
    )


@pytest.mark.parametrize("text", ["", "  \n\t", "\u00a0"])
def test_a_blank_message_is_refused(conversations: Conversations, text: str) -> None:
    refusal = refused(conversations, message(text))
    assert (refusal.error_code, fields(refusal)) == (ErrorCode.EMPTY_MESSAGE, ["user_message"])


def test_a_photo_needs_no_text(conversations: Conversations) -> None:
    photo = message("", metadata={"photo": {"file_id": "f"}})
    assert checked(conversations, photo).metadata == {"photo": {"file_id": "f"}}


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"session_id": ""}, "session_id"),
        ({"session_id": "s" * (LONGEST_ID + 1)}, "session_id"),
        ({"chat_id": ""}, "chat_id"),
        ({"chat_id": "7" * (LONGEST_ID + 1)}, "chat_id"),
        ({"chat_id": None}, "chat_id"),
        ({"text": "x" * (LONGEST_TEXT + 1)}, "user_message"),
        ({"platform": "viber"}, "platform"),
    ],
)
def test_a_wrong_field_is_named(
    conversations: Conversations, values: dict[str, Any], field: str
) -> None:
    refusal = refused(conversations, message(**values))
    assert (refusal.error_code, fields(refusal)) == (ErrorCode.INVALID_INPUT, [field])


@pytest.mark.parametrize("bad", ["a\0b", "a\ud83d"], ids=["NUL", "half a pair"])
@pytest.mark.parametrize(
    "field", ["session_id", "user_message", "chat_id", "user_id", "message_id", "metadata"]
)
def test_a_field_that_a_database_cannot_keep_is_named(
    conversations: Conversations, field: str, bad: str
) -> None:
    value: Any = {"deep": [{"er": bad}]} if field == "metadata" else bad
    values = {"text" if field == "user_message" else field: value}
    assert fields(refused(conversations, message(**values))) == [field]


def test_the_key_of_metadata_is_looked_at_too(conversations: Conversations) -> None:
    assert fields(refused(conversations, message(metadata={"a\0": 1}))) == ["metadata"]


def test_all_wrong_fields_are_named_at_once(conversations: Conversations) -> None:
    wrong = message(
        "x" * (LONGEST_TEXT + 1), session_id="", chat_id=None, platform="viber", user_id="\0"
    )
    assert set(fields(refused(conversations, wrong))) == {
        "session_id",
        "user_message",
        "user_id",
        "chat_id",
        "platform",
    }


def test_the_longest_message_that_is_allowed_is_taken(conversations: Conversations) -> None:
    longest = message("x" * LONGEST_TEXT, session_id="s" * LONGEST_ID, chat_id="7" * LONGEST_ID)
    assert checked(conversations, longest).text == longest.text


def test_a_caller_who_waits_for_the_answer_needs_no_chat(conversations: Conversations) -> None:
    assert (
        checked(conversations, message(chat_id=None), actor=TaskName.PROCESS_MESSAGE).chat_id
        is None
    )


def test_the_platforms_that_there_are_are_named(conversations: Conversations) -> None:
    assert "manychat, telegram" in str(refused(conversations, message(platform="viber")))


def test_a_refusal_does_not_repeat_the_message(conversations: Conversations) -> None:
    refusal = refused(conversations, message("card 4111 1111\0", session_id=""))
    assert "4111" not in str(refusal)
