"""How times and durations are written."""

from datetime import datetime
from typing import Final

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))


def lasting(seconds: float) -> str:
    """A duration, with as much as anybody needs: ``0.8 s``, ``42 s``, ``4 min 10 s``, ``2 d``."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    for (size, name), (smaller, below) in zip(_UNITS, (*_UNITS[1:], (1, "s")), strict=True):
        if seconds >= size:
            rest = int(seconds % size // smaller)
            return f"{int(seconds // size)} {name}" + (f" {rest} {below}" if rest else "")
    raise AssertionError(seconds)


def relative(at: datetime, now: datetime) -> str:
    """How long ago, or in how much time."""
    seconds = (now - at).total_seconds()
    if abs(seconds) < 1:
        return "now"
    coarse = lasting(abs(seconds) if abs(seconds) >= 10 else round(abs(seconds)))
    coarse = coarse.replace(".0 s", " s")
    return f"{coarse} ago" if seconds > 0 else f"in {coarse}"


def utc(at: datetime, now: datetime) -> str:
    """The time of day; with its date when it is not today's."""
    return f"{at:%H:%M:%S}" if at.date() == now.date() else f"{at:%-d %b %Y, %H:%M:%S}"


def iso(at: datetime) -> str:
    """As a machine reads it."""
    return at.isoformat().replace("+00:00", "Z")
