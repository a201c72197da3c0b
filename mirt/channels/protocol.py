"""What every channel can do, and the values it speaks in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """What every webhook becomes. Only mapped: blank or too long texts are for others to judge."""

    session_id: str
    text: str
    """The caption for a photo; empty for a photo without one."""
    platform: str
    chat_id: str | None = None
    user_id: str | None = None
    message_id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """JSON, with only the keys that have a value: ``dedup_key`` (unique for the message on its
    platform), ``photo`` (``{"file_id"}`` or ``{"url"}``), ``sent_at`` (ISO 8601, UTC),
    ``username``, ``first_name``, ``language_code``, ``update_id``, ``content_key``."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """A well-formed event that is not for us: an edit, a sticker, a member who left."""

    kind: str
    """From a short, fixed list, so that it can be counted by."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The channel took one part of a reply."""

    provider_message_id: str | None
    chat_id: str
    """Where it went; not the chat that was asked for when that one has moved."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What a platform is to remember of a customer: for its own flows, and for people."""

    fields: Mapping[str, str] = field(default_factory=dict)
    add_tags: Sequence[str] = ()
    remove_tags: Sequence[str] = ()


@runtime_checkable
class MarkingChannel(Protocol):
    """A platform that keeps marks of its customers; Telegram keeps none."""

    def mark(self, chat_id: str, marks: Marks) -> None:
        """Set them. Twice is the same as once. Raises as ``Channel.send``, if not unknown."""
        ...


@runtime_checkable
class RegisteringChannel(Protocol):
    """A platform that is told by its API where to send what customers write."""

    def set_webhook(self, url: str) -> None:
        """Have messages, and nothing else, sent there with our secret. Raises as ``send``."""
        ...

    def webhook_info(self) -> Mapping[str, Any]:
        """What the platform knows of the webhook. Raises as ``send``."""
        ...


class Channel(Protocol):
    """One platform, both directions."""

    name: str
    """``telegram``, ``manychat`` or ``console``."""

    def authenticate(self, headers: Mapping[str, str]) -> bool:
        """Whether the webhook knows the secret: in constant time, header names in any case."""
        ...

    def parse(self, payload: object) -> InboundMessage | Ignored:
        """Map the JSON of a webhook.

        Raises:
            PermanentError: ``INVALID_INPUT``, naming every wrong field. Nothing else.
        """
        ...

    def rate_limit_scope(self, chat_id: str) -> str:
        """Whose limit a 429 is about, by name: of the chat, or of the whole account."""
        ...

    def split(self, text: str) -> list[str]:
        """The parts, in order, in which a reply is delivered; none for a blank text."""
        ...

    def send(self, chat_id: str, part: str, *, reply_to: str | None = None) -> Receipt:
        """Send one part.

        Raises:
            RateLimitError: the platform names the seconds to wait.
            OutcomeUnknownError: the part may have been delivered.
            ExternalServiceError: it was not delivered and may be later.
            PermanentError: ``CHANNEL_REFUSED``, with the platform's reason.
            SoftTimeLimitExceeded: the deadline passed; the part may have been delivered.
        """
        ...
