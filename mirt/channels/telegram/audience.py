"""Decide whether a message is meant for this bot, before anything else is done with it."""

from collections.abc import Callable, Iterator
from typing import Literal

from mirt.channels.protocol import Ignored
from mirt.channels.telegram.updates import (
    GROUPS,
    PRIVATE,
    Message,
    Raw,
    has,
    raw,
    raw_list,
    raw_text,
)

Groups = Literal["ignore", "addressed"]
"""The choice for messages in groups: ignore them, or answer those that address the bot."""


class Audience:
    """The messages that one bot answers.

    In a private chat it answers every message of a person. In a group a message addresses it that
    replies to one of its messages, names it, or has a command with its name.
    """

    def __init__(self, groups: Groups, bot_id: int | None, username: Callable[[], str]) -> None:
        """``username`` is called for a message in a group that names a username."""
        self._groups = groups
        self._bot_id = bot_id
        self._username = username

    def refuses(self, message: Message, json: Raw) -> Ignored | None:
        """Return the reason to ignore a message; None if it is meant for this bot.

        Raises:
            ExternalServiceError: the username of the bot is needed and not known yet.
        """
        if json.get("is_automatic_forward") is True:
            return Ignored("automatic_forward")
        if message.sender is not None and message.sender.is_bot is True:
            return Ignored("bot")
        if message.chat.type == PRIVATE:
            return None
        if message.chat.type not in GROUPS:
            return Ignored("chat:channel" if message.chat.type == "channel" else "chat:other")
        if self._groups == "addressed" and self._is_addressed(json):
            return None
        return Ignored("chat:group")

    def _is_addressed(self, message: Raw) -> bool:
        if self._bot_id is None:
            return False
        replied = raw(message, "reply_to_message")
        is_root = has(replied, "forum_topic_created")
        if not is_root and raw(replied, "from").get("id") == self._bot_id:
            return True
        if any(user_id == self._bot_id for user_id in _named_users(message)):
            return True
        usernames = {name.casefold() for name in _usernames(message) if name}
        return bool(usernames) and self._username().casefold() in usernames


def _named_users(message: Raw) -> Iterator[object]:
    for name in ("entities", "caption_entities"):
        for entity in raw_list(message, name):
            if raw_text(entity, "type") == "text_mention":
                yield raw(entity, "user").get("id")


def _usernames(message: Raw) -> Iterator[str]:
    """Yield the usernames in a message: ``@shop_bot``, and that of ``/start@shop_bot``."""
    for text, entities in (("text", "entities"), ("caption", "caption_entities")):
        units = raw_text(message, text).encode("utf-16-le", "surrogatepass")
        for entity in raw_list(message, entities):
            start, length = (entity.get(n) if isinstance(entity, dict) else None for n in _PLACE)
            if isinstance(start, int) and isinstance(length, int) and start >= 0 and length > 0:
                word = units[2 * start : 2 * (start + length)].decode("utf-16-le", "replace")
                if raw_text(entity, "type") in {"mention", "bot_command"} and "@" in word:
                    yield word.rpartition("@")[2]


_PLACE = ("offset", "length")
"""Place of an entity in its text, in UTF-16 code units."""
