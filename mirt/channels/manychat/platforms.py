"""The platforms behind ManyChat, with their content types, bubbles and messaging windows."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final, Self

from mirt.channels.splitting import split_text, utf8_length, utf16_length


class Platform(StrEnum):
    """A platform of subscribers, by the ``type`` that a flow sends for it."""

    INSTAGRAM = "instagram"
    FACEBOOK = "facebook"
    WHATSAPP = "whatsapp"
    TELEGRAM = "telegram"

    @classmethod
    def of(cls, kind: object) -> Self | None:
        """Return the platform that a flow calls so; None for any other value."""
        name = kind.strip().casefold() if isinstance(kind, str) else ""
        return next((one for one in cls if one == _ALIASES.get(name, name)), None)

    @property
    def content_type(self) -> str | None:
        """Value of ``content.type`` in a request; Messenger must have none."""
        return None if self is Platform.FACEBOOK else self.value

    @property
    def messaging_window(self) -> timedelta | None:
        """Meta's rule for its platforms; Telegram has none."""
        return None if self is Platform.TELEGRAM else timedelta(hours=24)

    def bubbles(self, text: str) -> list[str]:
        """Return the bubbles that a text is sent in."""
        limit, length = _LONGEST_BUBBLE[self]
        return split_text(text, limit, length)


_ALIASES: Final = {"messenger": "facebook", "fb": "facebook", "ig": "instagram"}
_LONGEST_BUBBLE: Final[dict[Platform, tuple[int, Callable[[str], int]]]] = {
    # Sources differ whether Instagram counts bytes or characters; the smaller limit is safe.
    Platform.INSTAGRAM: (1000, utf8_length),
    Platform.FACEBOOK: (2000, utf16_length),
    Platform.WHATSAPP: (2000, utf16_length),
    Platform.TELEGRAM: (2000, utf16_length),
}


@dataclass(frozen=True, slots=True)
class Address:
    """A subscriber on a platform. As text: ``42@whatsapp``, or ``42`` on the default platform."""

    subscriber: str
    platform: Platform

    @classmethod
    def read(cls, text: str, default: Platform) -> Self:
        """Return the address that is written as this text. An id may contain ``@`` itself."""
        subscriber, _, name = text.rpartition("@")
        platform = next((one for one in Platform if one == name), None)
        return cls(subscriber, platform) if subscriber and platform else cls(text, default)

    def write(self, default: Platform) -> str:
        """Return the address as text."""
        is_default = self.platform is default
        return self.subscriber if is_default else f"{self.subscriber}@{self.platform}"
