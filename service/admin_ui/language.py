"""Choose the language of the shop's part of the page: English or Ukrainian.

Translated are the names of the pages, the pages *Today* and *Orders*, and the forms of a person who
answers a customer. Pages about queues and failures are English, as the commands and the runbooks.
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Final
from urllib.parse import urlencode

import falcon
from jinja2 import Environment, pass_context
from jinja2.runtime import Context

from mirt.clock import format_duration
from mirt.counting import counted
from service.admin_ui import ukrainian

ENGLISH: Final = "en"
UKRAINIAN: Final = "uk"
NAMES: Final = {ENGLISH: ("ENG", "English"), UKRAINIAN: ("УКР", "Українська")}
"""The short and the full name of each language, in itself."""
COOKIE: Final = "mirt_language"
PARAMETER: Final = "lang"
KEPT_S: Final = 365 * 86_400


def language_of(req: falcon.Request) -> str:
    """Return the language that the address or the cookie names, else the first of the browser."""
    cookie = req.get_cookie_values(COOKIE) or []
    for name in (req.get_param(PARAMETER), *cookie):
        if name in NAMES:
            return name
    accepted = (req.get_header("Accept-Language") or "").lower().split(",")
    codes = (part.partition(";")[0].strip()[:2] for part in accepted)
    return next((code for code in codes if code in NAMES), ENGLISH)


def keep_language(req: falcon.Request, resp: falcon.Response) -> None:
    """Keep the language that the address names in a cookie of the page."""
    if (name := req.get_param(PARAMETER)) in NAMES:
        resp.set_cookie(COOKIE, name, path="/ops", max_age=KEPT_S, same_site="Strict", secure=False)


def other_language(req: falcon.Request, language: str) -> dict[str, str]:
    """Return ``code``, ``name`` and ``short`` name of the other language, and ``here`` in it."""
    code = ENGLISH if language == UKRAINIAN else UKRAINIAN
    short, name = NAMES[code]
    query = urlencode({**req.params, PARAMETER: code}, doseq=True)
    return {"code": code, "name": name, "short": short, "here": f"{req.path}?{query}"}


def install(templates: Environment) -> None:
    """Give the templates ``_`` and filters; the context of a page has its ``language``."""
    templates.add_extension("jinja2.ext.i18n")
    # The method comes with the extension, which mypy does not know.
    templates.install_gettext_callables(_gettext, _ngettext, newstyle=True)  # type: ignore[attr-defined]
    templates.filters.update(
        count=_count, day_in_words=_day_in_words, format_duration=_duration, relative=_relative
    )


@pass_context
def _gettext(context: Context, text: str) -> str:
    return ukrainian.TEXTS.get(text, text) if context["language"] == UKRAINIAN else text


@pass_context
def _ngettext(_context: Context, one: str, many: str, number: int) -> str:
    return one if number == 1 else many


@pass_context
def _count(context: Context, number: int, one: str, many: str | None = None) -> str:
    if context["language"] == UKRAINIAN and one in ukrainian.COUNTED:
        return f"{number:,} {ukrainian.form_of(number, ukrainian.COUNTED[one])}".replace(",", " ")
    return counted(number, one, many)


@pass_context
def _day_in_words(context: Context, day: date) -> str:
    if context["language"] == UKRAINIAN:
        return f"{day.day} {ukrainian.MONTHS[day.month - 1]} {day.year}"
    return f"{day:%-d %B %Y}"


@pass_context
def _duration(context: Context, seconds: float) -> str:
    words, units = format_duration(seconds), _UNITS[context["language"]]
    return " ".join(units.get(word, word) for word in words.split(" "))


@pass_context
def _relative(context: Context, at: datetime, now: datetime) -> str:
    return relative(at, now, context["language"])


_UNITS: Final[Mapping[str, Mapping[str, str]]] = {
    ENGLISH: {"s": "s", "min": "min", "h": "h", "d": "d"},
    UKRAINIAN: ukrainian.UNITS,
}


def relative(at: datetime, now: datetime, language: str = ENGLISH) -> str:
    """Format the distance to ``now`` in one rounded unit: ``42 s ago``, ``in 3 h``."""
    seconds = (now - at).total_seconds()
    span, units = abs(seconds), _UNITS[language]
    if span < 1:
        return "now" if language == ENGLISH else ukrainian.NOW
    if span < 90:
        words = f"{span:.0f} {units['s']}"
    elif span < 5400:
        words = f"{span / 60:.0f} {units['min']}"
    elif span < 36 * 3600:
        words = f"{span / 3600:.0f} {units['h']}"
    else:
        words = f"{span / 86_400:.0f} {units['d']}"
    if language == UKRAINIAN:
        return f"{words} {ukrainian.AGO}" if seconds > 0 else f"{ukrainian.IN} {words}"
    return f"{words} ago" if seconds > 0 else f"in {words}"
