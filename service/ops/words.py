"""How times are written."""

from datetime import datetime


def relative(at: datetime, now: datetime) -> str:
    """How long ago, or in how much time; no more exactly than anybody cares."""
    seconds = (now - at).total_seconds()
    span = abs(seconds)
    if span < 1:
        return "now"
    if span < 90:
        words = f"{span:.0f} s"
    elif span < 5400:
        words = f"{span / 60:.0f} min"
    elif span < 36 * 3600:
        words = f"{span / 3600:.0f} h"
    else:
        words = f"{span / 86_400:.0f} d"
    return f"{words} ago" if seconds > 0 else f"in {words}"


def utc(at: datetime, now: datetime) -> str:
    """The time of day; with its date when it is not today's."""
    return f"{at:%H:%M:%S}" if at.date() == now.date() else f"{at:%-d %b %Y, %H:%M:%S}"


def iso(at: datetime) -> str:
    """As a machine reads it."""
    return at.isoformat().replace("+00:00", "Z")
