"""Define the interface of a channel, and the values that it takes and returns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """A customer's message as its webhook has it, not validated: it may be blank or too long."""

    session_id: str
    text: str
    """Text of the message or caption of the photo; empty for a photo without caption."""
    platform: str
    chat_id: str | None = None
    user_id: str | None = None
    message_id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """JSON, with only the keys that have a value: ``photo`` (``{"file_id"}`` or ``{"url"}``),
    ``sent_at`` (ISO 8601, UTC), ``username``, ``first_name``, ``language_code``, ``update_id``,
    ``content_key`` (the same for the same text and photo of the same customer)."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """A well-formed event that needs no answer: an edit, a sticker, a member who left."""

    kind: str
    """Kind of the event, from a short fixed list, so that it can be a label of a metric."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof that the channel took one part of a reply."""

    provider_message_id: str | None
    chat_id: str
    """Chat that got the part. It differs from the requested chat if that one has moved."""


@dataclass(frozen=True, slots=True)
class Marks:
    """Fields and tags that a platform keeps about a customer, for its flows and for people."""

    fields: Mapping[str, str] = field(default_factory=dict)
    add_tags: Sequence[str] = ()
    remove_tags: Sequence[str] = ()


@runtime_checkable
class MarkingChannel(Protocol):
    """A platform that keeps marks of its customers; Telegram keeps none."""

    def mark(self, chat_id: str, marks: Marks) -> None:
        """Set the marks. A second call changes nothing.

        Raises the same as ``Channel.send``, except ``OutcomeUnknownError``.
        """
        ...


@dataclass(frozen=True, slots=True)
class WebhookReport:
    """The webhook as its platform sees it; ``url`` is empty if there is none."""

    url: str
    pending: int
    """Events that wait to be delivered."""
    last_error: str | None
    last_error_at: datetime | None


@runtime_checkable
class RegisteringChannel(Protocol):
    """A platform whose API sets the URL of the webhook."""

    def set_webhook(self, url: str) -> None:
        """Have messages, and no other events, sent to ``url`` with our secret.

        Raises the same as ``Channel.send``.
        """
        ...

    def delete_webhook(self) -> None:
        """Have nothing sent any more; what is not delivered yet waits on the platform.

        Raises the same as ``Channel.send``.
        """
        ...

    def webhook_info(self) -> Mapping[str, Any]:
        """Return the state of the webhook, in the words of the platform.

        Raises the same as ``Channel.send``.
        """
        ...

    def webhook_report(self) -> WebhookReport:
        """Return the state of the webhook; the platform has five seconds to answer.

        Raises the same as ``Channel.send``.
        """
        ...


@dataclass(frozen=True, slots=True)
class PolledUpdate:
    """An event that was fetched from the platform; ``payload`` is what a webhook would get."""

    id: int
    payload: Mapping[str, Any]


@runtime_checkable
class PollableChannel(RegisteringChannel, Protocol):
    """A platform whose events can be fetched while no webhook is set."""

    name: str

    def identify(self) -> str:
        """Return the name under which customers find the bot. Raises as ``Channel.send``."""
        ...

    def fetch_updates(self, confirm_until: int | None, *, wait_s: float) -> list[PolledUpdate]:
        """Return the updates that were not confirmed, in order; wait up to ``wait_s`` s for one.

        All updates up to the id ``confirm_until`` are confirmed: they never come again.

        Raises the same as ``Channel.send``; ``PermanentError`` also if a webhook is set, or another
        program fetches the updates.
        """
        ...

    def close(self) -> None:
        """Close the connections. A later request opens new ones."""
        ...


class Channel(Protocol):
    """One platform, both directions.

    >>> message = channel.parse(payload)
    >>> for part in channel.split(f"You wrote: {message.text}"):
    ...     receipt = channel.send(message.chat_id, part, reply_to=message.message_id)
    """

    name: str
    """``telegram``, ``manychat`` or ``console``."""
    messaging_window: timedelta | None
    """Time after the customer's last message in which the platform lets us write; None: always."""

    def authenticate(self, headers: Mapping[str, str]) -> bool:
        """Whether the webhook has our secret. Constant time; header names in any case."""
        ...

    def parse(self, payload: object) -> InboundMessage | Ignored:
        """Map the JSON of a webhook.

        Raises:
            PermanentError: ``INVALID_INPUT``, naming every wrong field. No other error.
        """
        ...

    def rate_limit_scope(self, chat_id: str) -> str:
        """Return the name of the limit that a 429 is about: of the chat, or of the account."""
        ...

    def split(self, text: str) -> list[str]:
        """Return the parts of a reply, in order; none for a blank text."""
        ...

    def send(self, chat_id: str, part: str, *, reply_to: str | None = None) -> Receipt:
        """Send one part.

        Raises:
            RateLimitError: the platform asks to wait; ``retry_after`` has the seconds.
            OutcomeUnknownError: the part may have been delivered.
            ExternalServiceError: the part was not delivered; a later attempt may succeed.
            PermanentError: ``CHANNEL_REFUSED``, with the platform's reason.
            SoftTimeLimitExceeded: the deadline passed; the part may have been delivered.
        """
        ...
