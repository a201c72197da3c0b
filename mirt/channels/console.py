"""Show replies on the console while a channel has no key to send them with."""

from collections.abc import Callable, Mapping
from datetime import timedelta

from mirt.channels.protocol import Channel, Ignored, InboundMessage, ReachabilityChange, Receipt


class ConsoleChannel:
    """A stand-in for a channel: it takes the channel's webhooks, and shows replies to operators."""

    name = "console"

    def __init__(self, stands_for: Channel, show: Callable[[str, str], None]) -> None:
        """Take the channel to stand in for; ``show`` gets the chat id and each part."""
        self._channel = stands_for
        self._show = show

    def authenticate(self, headers: Mapping[str, str]) -> bool:
        """Check the secret of the real channel."""
        return self._channel.authenticate(headers)

    def parse(self, payload: object) -> InboundMessage | ReachabilityChange | Ignored:
        """Map a webhook of the real channel, including its platform."""
        return self._channel.parse(payload)

    def prepare(self) -> None:
        """Prepare the real channel."""
        self._channel.prepare()

    def messaging_window(self, chat_id: str) -> timedelta | None:
        """Return the window of the real channel."""
        return self._channel.messaging_window(chat_id)

    def rate_limit_scope(self, chat_id: str) -> str:
        """Return the scope of the real channel."""
        return self._channel.rate_limit_scope(chat_id)

    def split(self, text: str, chat_id: str = "") -> list[str]:
        """Return the parts that the real channel would send."""
        return self._channel.split(text, chat_id)

    def send(self, chat_id: str, part: str, *, reply_to: str | None = None) -> Receipt:
        """Show one part. The receipt has no provider message id."""
        self._show(chat_id, part)
        return Receipt(provider_message_id=None, chat_id=chat_id)
