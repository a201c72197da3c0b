"""Whether a message is meant for this bot: by its chat, its author, and the names in it."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from mirt.channels import Ignored, InboundMessage
from mirt.channels.telegram import TelegramChannel
from mirt.errors import ExternalServiceError
from tests.fakes import FakeServices, Status
from tests.fakes.telegram import refusal
from tests.unit.channels.test_telegram_inbound import channel, update

GROUP = {"id": -100500, "type": "supergroup", "title": "Мами"}
BOT = {"id": 1, "is_bot": True, "username": "fake_bot"}


@pytest.fixture
def shared(unprepared: TelegramChannel) -> TelegramChannel:
    """A bot that answers in groups if it is addressed."""
    unprepared.prepare()
    return unprepared


@pytest.fixture
def unprepared(services: FakeServices) -> Iterator[TelegramChannel]:
    """A bot that does not know its username yet."""
    opened = TelegramChannel(
        token=SecretStr("1:token"),
        secret=None,
        api_url=services.telegram_url,
        groups="addressed",
    )
    yield opened
    opened.close()


def in_group(**message: Any) -> dict[str, Any]:
    return update(chat=GROUP, **message)


def named(text: str, kind: str = "mention", **entity: Any) -> dict[str, Any]:
    """A message whose first word is such an entity."""
    length = len(text.split(maxsplit=1)[0].encode("utf-16-le")) // 2
    return {"text": text, "entities": [{"type": kind, "offset": 0, "length": length, **entity}]}


def test_the_shop_s_own_post_in_its_group_is_not_answered(shared: TelegramChannel) -> None:
    post = in_group(
        text="Новинка!",
        is_automatic_forward=True,
        sender_chat={"id": -100, "type": "channel"},
        **{"from": {"id": 777000, "is_bot": False}},
    )
    assert shared.parse(post) == Ignored("automatic_forward")


def test_a_message_of_another_bot_is_not_answered(shared: TelegramChannel) -> None:
    welcome = in_group(**named("@fake_bot вітаю"), **{"from": {"id": 9, "is_bot": True}})
    assert shared.parse(welcome) == Ignored("bot")


@pytest.mark.parametrize("kind", ["group", "supergroup"])
def test_a_group_is_ignored_unless_the_settings_say_otherwise(kind: str) -> None:
    asked = update(chat={"id": -5, "type": kind}, **named("@fake_bot є 104?"))
    assert channel().parse(asked) == Ignored("chat:group")


def test_members_who_talk_to_each_other_are_not_answered(shared: TelegramChannel) -> None:
    assert shared.parse(in_group(text="хто завтра на зміні?")) == Ignored("chat:group")
    to_another = in_group(text="так", reply_to_message={"from": {"id": 9}, "text": "?"})
    assert shared.parse(to_another) == Ignored("chat:group")


@pytest.mark.parametrize(
    "message",
    [
        {"text": "а 110?", "reply_to_message": {"from": BOT, "text": "Є 104"}},
        named("@fake_bot є 104?"),
        named("@Fake_Bot є 104?"),
        named("/start@fake_bot", "bot_command"),
        named("Консультант, є 104?", "text_mention", user=BOT),
        {
            "photo": [{"file_id": "f"}],
            "caption": "😀 @fake_bot",
            "caption_entities": [{"type": "mention", "offset": 3, "length": 9}],
        },
    ],
)
def test_a_message_that_addresses_the_bot_is_answered(
    shared: TelegramChannel, message: dict[str, Any]
) -> None:
    answered = shared.parse(in_group(**message))
    assert isinstance(answered, InboundMessage)


@pytest.mark.parametrize(
    "message",
    [
        named("@other_bot є 104?"),
        named("/start", "bot_command"),
        named("@fake_bot", "hashtag"),
        {"text": "@fake_bot"},
        {"text": "@fake_bot", "entities": [{"type": "mention", "offset": "0", "length": None}]},
        {
            "text": "новий",
            "reply_to_message": {"from": BOT, "forum_topic_created": {"name": "Розміри"}},
        },
    ],
)
def test_a_message_that_names_another_or_no_one_is_not_answered(
    shared: TelegramChannel, message: dict[str, Any]
) -> None:
    assert shared.parse(in_group(**message)) == Ignored("chat:group")


def test_each_member_of_a_group_has_a_conversation_of_their_own(shared: TelegramChannel) -> None:
    first = shared.parse(in_group(**named("@fake_bot є 104?")))
    other = shared.parse(in_group(**named("@fake_bot є 104?"), **{"from": {"id": 43}}))
    assert isinstance(first, InboundMessage)
    assert isinstance(other, InboundMessage)
    assert (first.session_id, other.session_id) == ("-100500:42", "-100500:43")
    assert first.chat_id == other.chat_id == "-100500"
    assert first.metadata["reply_to"] == "5"


def test_a_message_in_a_topic_is_answered_there(shared: TelegramChannel) -> None:
    topic = {"is_topic_message": True, "message_thread_id": 12}
    asked = shared.parse(in_group(**named("@fake_bot є 104?"), **topic))
    assert isinstance(asked, InboundMessage)
    assert (asked.session_id, asked.chat_id) == ("-100500:42", "-100500#12")


def test_a_thread_that_is_no_topic_is_not_named(shared: TelegramChannel) -> None:
    asked = shared.parse(in_group(**named("@fake_bot є 104?"), message_thread_id=12))
    assert isinstance(asked, InboundMessage)
    assert asked.chat_id == "-100500"


@pytest.mark.parametrize(("kind", "told"), [("channel", "chat:channel"), ("forum", "chat:other")])
def test_a_chat_that_is_neither_private_nor_a_group_is_ignored(kind: str, told: str) -> None:
    assert channel().parse(update(text="hi", chat={"id": -5, "type": kind})) == Ignored(told)


def test_our_username_has_to_be_asked_for_first(
    unprepared: TelegramChannel, services: FakeServices
) -> None:
    with pytest.raises(ExternalServiceError):
        unprepared.parse(in_group(**named("@fake_bot є 104?")))
    assert services.requests("telegram") == []
    unprepared.prepare()
    assert isinstance(unprepared.parse(in_group(**named("@fake_bot є 104?"))), InboundMessage)
    assert len(services.requests("telegram", "/getMe")) == 1


def test_a_message_that_names_no_username_does_not_need_it(unprepared: TelegramChannel) -> None:
    assert isinstance(unprepared.parse(update(text="hi")), InboundMessage)
    reply = {"text": "а 110?", "reply_to_message": {"from": BOT, "text": "Є 104"}}
    assert isinstance(unprepared.parse(in_group(**reply)), InboundMessage)


@pytest.mark.parametrize("how", [Status(502), refusal(401, "Unauthorized")])
def test_while_our_username_cannot_be_had_the_message_has_to_come_again(
    unprepared: TelegramChannel, services: FakeServices, how: Status
) -> None:
    services.misbehave("telegram", how)
    with pytest.raises(ExternalServiceError):
        unprepared.prepare()


def test_our_username_is_asked_for_again(
    unprepared: TelegramChannel, services: FakeServices
) -> None:
    services.misbehave("telegram", Status(502))
    with pytest.raises(ExternalServiceError):
        unprepared.prepare()
    unprepared.prepare()
    assert isinstance(unprepared.parse(in_group(**named("@fake_bot є 104?"))), InboundMessage)
