"""The shapes of an Update, as far as the service needs them to answer it."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import Field

from mirt.channels.webhook import Id, Name, Payload, Text

Raw = Mapping[str, Any]
"""The JSON of an object, not validated."""

PRIVATE: Final = "private"
GROUPS: Final = ("group", "supergroup")


class Chat(Payload):
    """A chat. ``type`` is missing only in hand-written updates."""

    id: Id
    type: Any = PRIVATE


class User(Payload):
    """The sender of a message, a person or a bot."""

    id: Id
    is_bot: Any = False
    username: Name | None = None
    first_name: Name | None = None
    language_code: Name | None = None


class PhotoSize(Payload):
    """One size of a photo; Telegram lists the largest last."""

    file_id: Text


class Message(Payload):
    """A message. ``content`` and ``context`` read its many optional parts from the JSON itself."""

    message_id: Id
    date: Annotated[int, Field(ge=0, lt=2**33)] | None = None
    edit_date: Any = None
    chat: Chat
    sender: User | None = Field(None, alias="from")
    text: Text | None = None
    caption: Text | None = None
    photo: list[PhotoSize] = Field(default_factory=list)


class Update(Payload):
    """An update that may have a message."""

    update_id: Id
    message: Message | None = None


class Membership(Payload):
    """The state of our bot in a chat: ``kicked`` if a person has blocked it."""

    status: Text


class MembershipChange(Payload):
    """A person has blocked or unblocked our bot, or a group has added or removed it."""

    chat: Chat
    date: Annotated[int, Field(ge=0, lt=2**33)]
    new_chat_member: Membership


def has(value: Raw, name: str) -> bool:
    """Whether the object has a value of this name; ``null`` is none."""
    return value.get(name) is not None


def raw(value: object, name: str) -> Raw:
    """Return the object of this name in a JSON value; empty if there is none."""
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def raw_text(value: object, name: str) -> str:
    """Return the text or number of this name in a JSON value; empty if there is none."""
    found = value.get(name) if isinstance(value, dict) else None
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    return found if isinstance(found, str) else str(found) if is_number else ""


def raw_list(value: object, name: str) -> list[Any]:
    """Return the list of this name in a JSON value; empty if there is none."""
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, list) else []
