"""Render the templates of the page; every value is escaped as text and made printable."""

import json
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from mirt.observe.printable import printable_block
from service.admin_ui import language
from service.admin_ui.static import StaticFiles
from service.admin_ui.zone import zone_name

TEMPLATES: Final = Path(__file__).with_name("templates")
PAGES: Final = (
    ("/ops", "Now"),
    ("/ops/today", "Today"),
    ("/ops/conversations", "Conversations"),
    ("/ops/orders", "Orders"),
    ("/ops/dead", "Dead letters"),
    ("/ops/queues", "Queues"),
    ("/ops/schedule", "Schedule"),
    ("/ops/audit", "Audit"),
)


class Templates:
    """The Jinja templates with our filters and globals."""

    def __init__(self, static: StaticFiles) -> None:
        self._templates = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=_printable,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(static=static.address, pages=PAGES)
        self._templates.filters.update(
            iso=iso,
            time=_time,
            time_of_day=_time_of_day,
            day=_day,
            zone=_zone,
            utc=utc,
            pretty=_pretty,
        )
        language.install(self._templates)

    def render(self, template: str, **context: Any) -> str:
        """Return the HTML of a whole page; an undefined name raises jinja2.UndefinedError."""
        return self._templates.get_template(template).render(**context)


def _printable(value: Any) -> Any:
    # Markup is ours, with every value in it escaped and made printable before.
    is_text = isinstance(value, str) and not isinstance(value, Markup)
    return printable_block(value) if is_text else value


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def local(at: datetime, now: datetime, zone: tzinfo) -> str:
    """Format the time of day in that zone, with the date unless it is today there."""
    there = at.astimezone(zone)
    is_today = there.date() == now.astimezone(zone).date()
    return f"{there:%H:%M:%S}" if is_today else f"{there:%-d %b %Y, %H:%M:%S}"


def utc(at: datetime, now: datetime) -> str:
    """Format the time of day in UTC, with the date unless it is today, and the word UTC."""
    return f"{local(at, now, UTC)} UTC"


# The zone of the operator is in the context of every page (``service.admin_ui.page``).


@pass_context
def _time(context: Context, at: datetime, now: datetime) -> str:
    return local(at, now, context["zone"])


@pass_context
def _time_of_day(context: Context, at: datetime, form: str = "%H:%M:%S") -> str:
    return at.astimezone(context["zone"]).strftime(form)


@pass_context
def _day(context: Context, at: datetime) -> str:
    return f"{at.astimezone(context['zone']):%-d %B %Y}"


@pass_context
def _zone(context: Context, at: datetime) -> str:
    return zone_name(at, context["zone"])


def iso(at: datetime) -> str:
    """Format a time in ISO 8601, with ``Z`` for UTC."""
    return at.isoformat().replace("+00:00", "Z")
