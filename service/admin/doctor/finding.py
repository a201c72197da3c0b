"""Describe the result of one check, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """The severity of a finding."""

    OK = "ok"
    WARNING = "warning"
    """Worth knowing; the service works nevertheless."""
    ERROR = "error"
    DISABLED = "disabled"
    """Not configured, and not needed in this mode."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of a check. ``about`` names its subject; ``advice`` says what to do, if anything."""

    about: str
    severity: Severity
    found: str
    advice: str | None = None
    took_ms: float | None = None
