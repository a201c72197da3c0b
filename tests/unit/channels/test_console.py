"""The console shows what it cannot send."""

from pydantic import SecretStr

from mirt.channels import Channel, InboundMessage, Receipt
from mirt.channels.console import ConsoleChannel
from mirt.channels.telegram import TelegramChannel


def console(shown: list[tuple[str, str]]) -> Channel:
    telegram = TelegramChannel(token=SecretStr(""), secret=SecretStr("s3cret"))
    return ConsoleChannel(telegram, lambda chat_id, part: shown.append((chat_id, part)))


def test_a_reply_is_shown_and_counts_as_delivered() -> None:
    shown: list[tuple[str, str]] = []
    assert console(shown).send("77", "Вітаю") == Receipt(None, "77")
    assert shown == [("77", "Вітаю")]


def test_webhooks_are_those_of_the_channel_it_stands_in_for() -> None:
    channel = console([])
    message = {"message_id": 5, "chat": {"id": 77}, "text": "Привіт"}
    parsed = channel.parse({"update_id": 1, "message": message})
    assert isinstance(parsed, InboundMessage)
    assert (parsed.platform, parsed.session_id) == ("telegram", "77")
    assert channel.authenticate({"X-TELEGRAM-BOT-API-SECRET-TOKEN": "s3cret"})
    assert not channel.authenticate({})
    assert len(channel.split("я" * 4097)) == 2
