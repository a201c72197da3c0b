"""How the page looks: its templates, in which everything is text unless it is our own markup."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mirt.clock import format_duration
from service.admin_ui.static import Static

TEMPLATES: Final = Path(__file__).with_name("templates")
PAGES: Final = (
    ("/ops", "Now"),
    ("/ops/conversations", "Conversations"),
    ("/ops/dead", "Dead letters"),
    ("/ops/queues", "Queues"),
    ("/ops/schedule", "Schedule"),
)


class Templates:
    """Renders templates."""

    def __init__(self, static: Static) -> None:
        self._templates = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(static=static.address, pages=PAGES)
        self._templates.filters.update(
            iso=iso,
            format_duration=format_duration,
            relative=relative,
            utc=utc,
            count=_count,
            pretty=_pretty,
        )

    def render(self, template: str, **context: Any) -> str:
        """A whole page."""
        return self._templates.get_template(template).render(**context)


def _count(number: int, one: str, more: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else more or one + 's'}"


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


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
