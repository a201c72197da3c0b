"""Fetch the pictures that customers sent, for an LLM that can see (``LLM_VISION``).

A picture that cannot be had costs no answer: the LLM then gets the note that a photo came.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog

from mirt.channels.protocol import Channel, SeeingChannel
from mirt.errors import SoftTimeLimitExceeded, WorkerError
from mirt.llm import Picture
from mirt.store.shop.mailbox import KeptMail

log = structlog.get_logger(__name__)

MOST: Final = 4
"""Pictures of one turn; the latest ones are looked at."""
LARGEST: Final = 4 * 1024 * 1024
"""Bytes of one picture. Telegram makes photos of a few hundred thousand."""
WITHIN_S: Final = 10.0
"""Seconds for all pictures of a turn."""
_BEGINNINGS: Final = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"GIF8": "image/gif",
}


class Pictures:
    """The pictures of customers' messages, by way of the channel that each came from."""

    def __init__(self, channels: Mapping[str, Channel]) -> None:
        self._channels = channels

    def of(self, mails: Sequence[KeptMail]) -> dict[str, Picture]:
        """Return the pictures of these messages by task id, at most ``MOST``.

        Raises:
            SoftTimeLimitExceeded: the deadline of the task comes first.
        """
        until = time.monotonic() + WITHIN_S
        found: dict[str, Picture] = {}
        for mail in reversed(mails):
            left_s = until - time.monotonic()
            source = picture_of(mail.metadata)
            if source is not None and left_s > 0 and len(found) < MOST:
                picture = self._fetch(mail.platform, source, left_s)
                if picture is not None:
                    found[mail.task_id] = picture
        return found

    def _fetch(self, platform: str, source: Mapping[str, Any], within_s: float) -> Picture | None:
        channel = self._channels.get(platform)
        if not isinstance(channel, SeeingChannel):
            return None
        try:
            content = channel.fetch_picture(source, largest=LARGEST, within_s=within_s)
        except SoftTimeLimitExceeded:
            raise
        except WorkerError as failed:
            log.warning("picture_not_fetched", channel=platform, why=failed.message)
            return None
        media_type = media_type_of(content)
        if media_type is None:
            log.warning("picture_not_fetched", channel=platform, why="it is of no known kind")
            return None
        return Picture(content, media_type)


def picture_of(metadata: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return where the picture of a message is: its photo, or its still sticker."""
    source = metadata.get("photo") or metadata.get("sticker")
    return source if isinstance(source, Mapping) else None


def media_type_of(content: bytes) -> str | None:
    """Return the media type by the first bytes; None for a kind that models do not take.

    >>> media_type_of(b"RIFF0000WEBPVP8 ")
    'image/webp'
    """
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for begin, kind in _BEGINNINGS.items() if content.startswith(begin)), None)
