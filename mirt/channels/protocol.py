"""Define the interface of a channel, and the values that it takes and returns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol, runtime_checkable

CHANNELS: Final = ("telegram", "manychat")
"""Names of the platforms, as data and operators use them."""


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """A customer's message as its webhook has it, not validated: it may be blank or too long."""

    session_id: str
    text: str
    """Words of the message, or what became words: a contact, a place. Empty if there are none."""
    platform: str
    chat_id: str | None = None
    """Where the reply goes. Only the channel reads it: it may name a topic or a platform, too."""
    user_id: str | None = None
    message_id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """JSON, with only the keys that have a value:

    - ``photo``, and ``sticker`` if it stands still: ``{"file_id"}`` or ``{"url"}``
    - ``unread``, a list with an entry of ``mirt.channels.notes.unread`` for each content that
      cannot be read
    - ``points_at``: notes of what the message points at, as a reply or a forward
    - ``album``: the same for all parts of one album
    - ``edit_of``, ``edited_at``: the id of the message that this one replaces; seconds since 1970
    - ``reply_to``: the id of the message that the reply names, where others would not know
    - ``sent_at`` (ISO 8601, UTC), ``username``, ``first_name``, ``language_code``, ``update_id``
    - ``content_key``: the same for the same text and photo of the same customer
    """


@dataclass(frozen=True, slots=True)
class ReachabilityChange:
    """News that a customer takes messages from us no longer, or again."""

    platform: str
    session_id: str
    is_reachable: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class Ignored:
    """A well-formed event that needs no answer: a member who left, a message for others."""

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


def ignore(_done: int) -> None:
    """Do nothing with the number of marks that are set."""


@runtime_checkable
class MarkingChannel(Protocol):
    """A platform that keeps marks of its customers; Telegram keeps none."""

    def mark(
        self, chat_id: str, marks: Marks, *, done: int = 0, report: Callable[[int], None] = ignore
    ) -> None:
        """Set the marks, the tags to remove first. A second call changes nothing.

        ``done`` of them were set before and are passed over; ``report`` gets the number of those
        that are set, after each.

        Raises the same as ``Channel.send``, except ``OutcomeUnknownError``.
        """
        ...


@runtime_checkable
class SeeingChannel(Protocol):
    """A platform whose pictures can be fetched."""

    def fetch_picture(self, source: Mapping[str, Any], *, largest: int, within_s: float) -> bytes:
        """Return the picture that the metadata of a message names, of at most ``largest`` bytes.

        Raises:
            WorkerError: it cannot be had.
            SoftTimeLimitExceeded: the deadline of the task comes first.
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
        """Have the events that ``parse`` maps sent to ``url`` with our secret.

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
        """Return the state of the webhook; the platform has a few seconds to answer.

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

    def authenticate(self, headers: Mapping[str, str]) -> bool:
        """Whether a webhook has our secret. As ``Channel.authenticate``."""
        ...

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

    def authenticate(self, headers: Mapping[str, str]) -> bool:
        """Whether the webhook has our secret. Constant time; header names in any case."""
        ...

    def parse(self, payload: object) -> InboundMessage | ReachabilityChange | Ignored:
        """Map the JSON of a webhook. Never waits for the platform.

        Raises:
            PermanentError: ``INVALID_INPUT``, naming every wrong field.
            ExternalServiceError: call ``prepare`` and then parse again.
        """
        ...

    def prepare(self) -> None:
        """Ask the platform what ``parse`` has to know about our account; may wait a second.

        Raises:
            ExternalServiceError: the platform does not tell it now.
        """
        ...

    def messaging_window(self, chat_id: str) -> timedelta | None:
        """Return the time after the customer's last message in which we may write unasked.

        None means at any time.
        """
        ...

    def rate_limit_scope(self, chat_id: str) -> str:
        """Return the name of the limit that a 429 is about: of the chat, or of the account."""
        ...

    def split(self, text: str, chat_id: str = "") -> list[str]:
        """Return the parts of a reply to this chat, in order; none for a blank text."""
        ...

    def send(self, chat_id: str, part: str, *, reply_to: str | None = None) -> Receipt:
        """Send one part.

        Raises:
            RateLimitError: the platform asks to wait; ``retry_after`` has the seconds.
            OutcomeUnknownError: the part may have been delivered.
            ExternalServiceError: the part was not delivered; a later attempt may succeed.
            UnreachableError: the customer takes no messages from us.
            PermanentError: ``CHANNEL_REFUSED``, with the platform's reason.
            SoftTimeLimitExceeded: the deadline passed; the part may have been delivered.
        """
        ...
