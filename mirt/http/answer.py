"""Read the answer of a service, with our secrets removed."""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Self

from mirt import service_calls
from mirt.http.quotes import strike_out


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer. Its ``repr`` shows no content, which may have texts of customers."""

    status: int
    body: Any = field(repr=False)
    """Parsed JSON; ``None`` if the text is no JSON."""
    headers: Mapping[str, str] = field(repr=False)
    """Headers by name, in any case."""
    text: str = field(repr=False)
    sent: Any = field(default=None, repr=False, compare=False)
    """JSON of the request."""

    def without_quotes(self, text: str) -> str:
        """Return a text of this answer as it may be logged: without what it quotes of a customer.

        Every reason that goes into an error of ours is read through it.
        """
        return strike_out(text, self.sent, service_calls.current().private)

    @classmethod
    def read(
        cls, status: int, headers: Mapping[str, str], content: bytes, *, secrets: Collection[str]
    ) -> Self:
        """Return the answer of these bytes, with asterisks in place of each of ``secrets``."""
        text = content.decode(errors="replace")
        for secret in secrets:
            text = text.replace(secret, "***")
        return cls(status, _parsed(text), headers, text)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


UNNAMED: Final = 60.0
"""Seconds to wait after a 429 that names no time."""


def bounded(seconds: float) -> float:
    """Limit a wait to 1 s to 3600 s: a wrong clock must not stop a conversation for days."""
    return min(max(seconds, 1.0), 3600.0)


def read_retry_after(value: str | None, now: datetime) -> float:
    """Return the seconds of a ``Retry-After`` header from ``now``, within ``bounded``.

    The header has seconds or an HTTP date (RFC 9110, 10.2.3). An unreadable one counts as absent.
    """
    value = (value or "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", value, re.ASCII):
        return bounded(float(value))
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return UNNAMED
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return bounded((date - now).total_seconds())
