"""The console: where replies are shown while there is no token to send them with."""

from collections.abc import Callable, Mapping

from mirt.channels.protocol import Channel, Ignored, InboundMessage, Receipt


class ConsoleChannel:
    """Stands in for a channel: takes its webhooks, and shows the replies instead of sending."""

    name = "console"

    def __init__(self, stands_for: Channel, show: Callable[[str, str], None]) -> None:
        """Take the channel it stands in for and what is given the chat and each part."""
        self._channel = stands_for
        self._show = show

    def authenticate(self, headers: Mapping[str, str]) -> bool:
        """As the channel it stands in for."""
        return self._channel.authenticate(headers)

    def parse(self, payload: object) -> InboundMessage | Ignored:
        """As the channel it stands in for."""
        return self._channel.parse(payload)

    def rate_limit_scope(self, chat_id: str) -> str:
        """As the channel it stands in for."""
        return self._channel.rate_limit_scope(chat_id)

    def split(self, text: str) -> list[str]:
        """As the channel it stands in for."""
        return self._channel.split(text)

    def send(self, chat_id: str, part: str, *, reply_to: str | None = None) -> Receipt:
        """Show one part. Nothing gives it an id."""
        self._show(chat_id, part)
        return Receipt(provider_message_id=None, chat_id=chat_id)
