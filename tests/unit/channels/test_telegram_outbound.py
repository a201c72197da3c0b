"""Sending through Telegram, over real HTTP."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from pydantic import SecretStr

from mirt import service_calls
from mirt.channels.splitting import utf16_length
from mirt.channels.telegram import TelegramChannel
from mirt.clock import deadline_in
from mirt.errors import (
    ErrorCode,
    ExternalServiceError,
    OutageError,
    OutcomeUnknownError,
    PermanentError,
    RateLimitError,
    SoftTimeLimitExceeded,
    UnreachableError,
)
from mirt.service_calls import ServiceCalls
from tests.fakes import FakeServices, Garbage, Hang, Reset, Status, TooMany
from tests.fakes.telegram import refusal
from tests.unit.channels.pace import CountedPace


@pytest.fixture
def telegram(services: FakeServices) -> Iterator[TelegramChannel]:
    channel = TelegramChannel(
        token=SecretStr("1:token"),
        secret=SecretStr("s3cret"),
        api_url=services.telegram_url + "/",
        timeout=0.5,
    )
    yield channel
    channel.close()


def test_a_part_arrives_and_brings_its_id(
    telegram: TelegramChannel, services: FakeServices
) -> None:
    receipt = telegram.send("77", "Вітаю! 😀")
    assert (receipt.chat_id, receipt.provider_message_id) == ("77", "1000")
    assert services.sent(77) == ["Вітаю! 😀"]
    assert services.requests()[0].path == "/bot1:token/sendMessage"


def test_a_reply_names_the_message_and_does_not_insist_on_it(
    telegram: TelegramChannel, services: FakeServices
) -> None:
    telegram.send("77", "Так", reply_to="5")
    assert services.requests()[0].body == {
        "chat_id": 77,
        "text": "Так",
        "reply_parameters": {"message_id": 5, "allow_sending_without_reply": True},
    }


def test_parts_are_what_telegram_takes(telegram: TelegramChannel, services: FakeServices) -> None:
    parts = telegram.split("😀" * 4096 + " " + "слово " * 2000)
    for part in parts:
        telegram.send("77", part)
    assert services.sent(77) == parts
    assert max(map(utf16_length, parts)) == 4096


def test_a_message_waits_for_the_pace_of_the_bot_and_the_typing_sign_does_not(
    services: FakeServices,
) -> None:
    pace = CountedPace()
    telegram = TelegramChannel(
        token=SecretStr("1:token"), secret=None, api_url=services.telegram_url, send_rate=pace
    )
    telegram.typing("77")
    assert pace.waited == 0
    telegram.send("77", "Вітаю!")
    assert pace.waited == 1
    telegram.close()


def test_429_waits_as_long_as_the_body_says(
    telegram: TelegramChannel, services: FakeServices
) -> None:
    services.misbehave("telegram", TooMany(retry_after=35), chat=77)
    with pytest.raises(RateLimitError) as limited:
        telegram.send("77", "Вітаю")
    assert limited.value.retry_after == 35
    telegram.send("78", "Вітаю")
    assert services.sent(78) == ["Вітаю"], "other chats go on"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (403, "Forbidden: bot was blocked by the user"),
        (400, "Bad Request: chat not found"),
    ],
)
def test_a_refusal_is_permanent_and_says_why(
    telegram: TelegramChannel, services: FakeServices, code: int, reason: str
) -> None:
    services.misbehave("telegram", refusal(code, reason))
    with pytest.raises(PermanentError, match=reason) as refused:
        telegram.send("77", "Вітаю")
    assert refused.value.error_code is ErrorCode.CHANNEL_REFUSED


def test_a_customer_who_has_blocked_the_bot_is_unreachable(
    telegram: TelegramChannel, services: FakeServices
) -> None:
    services.telegram.blocked_by.add("77")
    with pytest.raises(UnreachableError, match="blocked by the user"):
        telegram.send("77", "Вітаю")
    telegram.send("78", "Вітаю")


def test_an_answer_goes_to_the_topic_of_its_question(
    telegram: TelegramChannel, services: FakeServices
) -> None:
    assert telegram.send("-77#12", "Вітаю").chat_id == "-77#12"
    telegram.typing("-77#12")
    for request in services.requests("telegram"):
        assert (request.body["chat_id"], request.body["message_thread_id"]) == (-77, 12)


def test_all_topics_of_a_chat_share_its_limit(telegram: TelegramChannel) -> None:
    assert telegram.rate_limit_scope("-77#12") == telegram.rate_limit_scope("-77")


def test_only_in_groups_is_there_no_time_to_write_unasked(telegram: TelegramChannel) -> None:
    assert telegram.messaging_window("77") is None
    assert telegram.messaging_window("-77#12") == timedelta(0)


@pytest.mark.parametrize(("code", "reason"), [(401, "Unauthorized"), (404, "Not Found")])
def test_a_refusal_of_the_token_is_an_outage(
    telegram: TelegramChannel, services: FakeServices, code: int, reason: str
) -> None:
    services.misbehave("telegram", refusal(code, reason))
    with pytest.raises(OutageError) as outage:
        telegram.send("77", "Вітаю")
    found = outage.value
    assert (found.service, found.code, found.reason, found.setting) == (
        "telegram",
        str(code),
        reason,
        "TELEGRAM_BOT_TOKEN",
    )


@pytest.fixture
def as_probe() -> Iterator[ServiceCalls]:
    """Be the task that asks Telegram although it was down."""
    yield service_calls.begin(probe="telegram")
    service_calls.begin()


def test_during_an_outage_a_text_is_sent_only_after_the_bot_was_found(
    telegram: TelegramChannel, services: FakeServices, as_probe: ServiceCalls
) -> None:
    services.misbehave("telegram", Reset(applied=True), times=None)
    for _ in range(3):
        with pytest.raises(OutageError):
            telegram.send("77", "Вітаю")
    assert services.sent(77) == []
    services.mend("telegram")
    telegram.send("77", "Вітаю")
    assert services.sent(77) == ["Вітаю"]
    assert as_probe.answered == {"telegram"}


def test_a_chat_that_moved_is_followed(telegram: TelegramChannel, services: FakeServices) -> None:
    moved = refusal(400, "Bad Request: group chat was upgraded", migrate_to_chat_id=-100500)
    services.misbehave("telegram", moved)
    assert telegram.send("-77", "Вітаю", reply_to="5").chat_id == "-100500"
    assert services.sent(-100500) == ["Вітаю"]


def test_a_chat_is_followed_once_only(telegram: TelegramChannel, services: FakeServices) -> None:
    moved = refusal(400, "Bad Request: group chat was upgraded", migrate_to_chat_id=-100500)
    services.misbehave("telegram", moved, times=None)
    with pytest.raises(PermanentError):
        telegram.send("-77", "Вітаю")
    assert len(services.requests()) == 2


@pytest.mark.parametrize("chat_id", ["olena", "77#general", ""])
def test_a_chat_id_that_is_no_number_is_refused_unasked(
    telegram: TelegramChannel, services: FakeServices, chat_id: str
) -> None:
    with pytest.raises(PermanentError) as refused:
        telegram.send(chat_id, "Вітаю")
    assert refused.value.error_code is ErrorCode.CHANNEL_REFUSED
    assert services.requests() == []


@pytest.mark.parametrize("code", [500, 502])
def test_a_failure_in_the_words_of_the_bot_api_was_surely_not_sent(
    telegram: TelegramChannel, services: FakeServices, code: int
) -> None:
    services.misbehave("telegram", refusal(code, "Internal Server Error"))
    with pytest.raises(ExternalServiceError) as failed:
        telegram.send("77", "Вітаю")
    assert not isinstance(failed.value, OutcomeUnknownError)


@pytest.mark.parametrize(
    "how",
    [
        Hang(),
        Reset(),
        Garbage(),
        Status(200, {"ok": False}),
        Status(200, [1]),
        Status(502, b"<html>Bad Gateway</html>"),
        Status(504, {"error": "upstream timed out"}),
        Status(500, {"ok": False}),
        Status(500, {"ok": True, "error_code": 500}),
        Status(408),
    ],
)
def test_an_answer_that_is_lost_or_makes_no_sense_leaves_the_outcome_unknown(
    telegram: TelegramChannel, services: FakeServices, how: Hang | Reset | Garbage | Status
) -> None:
    services.misbehave("telegram", how)
    with pytest.raises(OutcomeUnknownError):
        telegram.send("77", "Вітаю")


def test_the_deadline_ends_a_send(telegram: TelegramChannel, services: FakeServices) -> None:
    services.misbehave("telegram", Hang())
    with deadline_in(0.2), pytest.raises(SoftTimeLimitExceeded):
        telegram.send("77", "Вітаю")


def test_typing_is_shown(telegram: TelegramChannel, services: FakeServices) -> None:
    telegram.typing("77")
    (request,) = services.requests("telegram", "/sendChatAction")
    assert request.body == {"chat_id": 77, "action": "typing"}


@pytest.mark.parametrize(
    "how", [Status(500), TooMany(30), refusal(403, "Forbidden"), Reset(), Garbage(), Hang()]
)
def test_typing_never_fails(
    telegram: TelegramChannel,
    services: FakeServices,
    how: Status | TooMany | Reset | Garbage | Hang,
) -> None:
    services.misbehave("telegram", how)
    with deadline_in(0.3):
        telegram.typing("77")
    assert len(services.requests("telegram", "/sendChatAction")) == 1


def test_typing_in_a_chat_that_cannot_be_is_no_error(telegram: TelegramChannel) -> None:
    telegram.typing("olena")


def test_the_webhook_is_registered_with_our_secret(
    telegram: TelegramChannel, services: FakeServices
) -> None:
    telegram.set_webhook("https://shop.example/webhooks/telegram")
    assert services.telegram.webhook == {
        "url": "https://shop.example/webhooks/telegram",
        "allowed_updates": ["message", "edited_message", "my_chat_member"],
        "secret_token": "s3cret",
    }
    assert telegram.webhook_info()["url"] == "https://shop.example/webhooks/telegram"


def test_a_refused_webhook_says_why(telegram: TelegramChannel, services: FakeServices) -> None:
    services.misbehave(
        "telegram", refusal(400, "Bad Request: bad webhook: HTTPS url must be provided")
    )
    with pytest.raises(PermanentError, match="HTTPS url must be provided"):
        telegram.set_webhook("http://shop.example")
