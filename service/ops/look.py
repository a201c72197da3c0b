"""How the page looks: its templates, in which everything is text unless it is our own markup."""

import json
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mirt.clock import lasting
from service.ops.static import Static
from service.ops.words import iso, relative, utc

TEMPLATES: Final = Path(__file__).with_name("templates")
PAGES: Final = (
    ("/ops", "Now"),
    ("/ops/conversations", "Conversations"),
    ("/ops/dead", "Dead letters"),
    ("/ops/queues", "Queues"),
    ("/ops/schedule", "Schedule"),
)


class Look:
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
            iso=iso, lasting=lasting, relative=relative, utc=utc, count=_count, pretty=_pretty
        )

    def render(self, template: str, **context: Any) -> str:
        """A whole page."""
        return self._templates.get_template(template).render(**context)


def _count(number: int, one: str, more: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else more or one + 's'}"


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)
