"""What a service has answered, without its secrets."""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Self


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service answered. Its ``repr`` shows no content: customers' texts may be in it."""

    status: int
    body: Any = field(repr=False)
    """The parsed JSON, ``None`` when it is not JSON."""
    headers: Mapping[str, str] = field(repr=False)
    """By name, in any case."""
    text: str = field(repr=False)

    @classmethod
    def read(
        cls, status: int, headers: Mapping[str, str], content: bytes, *, secrets: Collection[str]
    ) -> Self:
        """The answer of these bytes, with asterisks where it repeats one of ``secrets``."""
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
