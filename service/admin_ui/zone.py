"""Show times in the time zone of the operator's browser.

The script puts the name of the zone into a cookie. Without it, times are in UTC.
"""

import re
from datetime import datetime, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

import falcon

COOKIE: Final = "mirt_zone"
_NAME: Final = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}")
_UTC: Final = ZoneInfo("UTC")


def zone_of(req: falcon.Request) -> tzinfo:
    """Return the zone that the cookie names; UTC if there is no such zone."""
    name = (req.get_cookie_values(COOKIE) or [""])[0]
    if not _NAME.fullmatch(name):
        return _UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # OSError: it names a folder of zones
        return _UTC


def zone_name(at: datetime, zone: tzinfo) -> str:
    """Return the short name of the zone at that time: ``UTC``, ``EET``, ``EEST``."""
    name = at.astimezone(zone).tzname() or ""
    # Zones without a name of their own are called by their offset: +03.
    return f"UTC{name}" if name.startswith(("+", "-")) else name
