"""How long a service that said 429 asks us to wait."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

UNNAMED: Final = 60.0
"""Seconds to wait for a service that names no time."""


def bounded(seconds: float) -> float:
    """At least a second, at most an hour: a wrong clock must not stop a conversation for days."""
    return min(max(seconds, 1.0), 3600.0)


def read_retry_after(value: str | None, now: datetime) -> float:
    """Read the header: seconds, or an HTTP date (RFC 9110, 10.2.3), in seconds from ``now``.

    What cannot be read counts as absent.
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
