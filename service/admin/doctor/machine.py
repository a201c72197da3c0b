"""What is around: the configuration, versions, and whether services of others connect."""

import platform
import socket
import time
from collections.abc import Iterator
from importlib.metadata import version
from typing import Final
from urllib.parse import urlsplit

from mirt.settings import Settings, old_names_in_use
from service.admin.doctor.finding import Finding, Verdict

LIBRARIES: Final = ("mirt-worker", "dramatiq", "pika", "periodiq", "sqlalchemy", "psycopg", "redis")
CONNECT_S: Final = 3.0


def look_around(settings: Settings) -> Iterator[Finding]:
    """The configuration and the versions of what is installed."""
    yield Finding("configuration", Verdict.FINE, f"{settings.mode.value} mode, no value is wrong")
    for line in old_names_in_use():
        yield Finding("configuration", Verdict.NOTE, line, "use the new name")
    versions = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    yield Finding("versions", Verdict.FINE, f"Python {platform.python_version()}, {versions}")


def ask_outside(name: str, url: str | None) -> Iterator[Finding]:
    """Whether a service of others takes connections; nothing is asked of it, no key is sent."""
    if url is None:
        yield Finding(name, Verdict.OFF, "not configured")
        return
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    started = time.monotonic()
    try:
        socket.create_connection((parts.hostname or "", port), timeout=CONNECT_S).close()
    except OSError as failed:
        took_ms = (time.monotonic() - started) * 1000
        found = f"{parts.hostname}:{port} does not connect: {failed.strerror or failed}"
        advice = "look at the network and at the address; what needs it is tried again"
        yield Finding(name, Verdict.WRONG, found, advice, took_ms)
        return
    took_ms = (time.monotonic() - started) * 1000
    yield Finding(name, Verdict.FINE, f"{parts.hostname}:{port} connects", None, took_ms)
