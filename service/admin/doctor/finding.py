"""What was found of one thing, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What a finding means."""

    FINE = "fine"
    NOTE = "note"
    """Worth knowing; the service works all the same."""
    WRONG = "wrong"
    OFF = "off"
    """It is not configured, and not needed in this mode."""


@dataclass(frozen=True, slots=True)
class Finding:
    """``about`` is what was looked at. ``advice`` says what to do, where there is anything."""

    about: str
    verdict: Verdict
    found: str
    advice: str | None = None
    took_ms: float | None = None
