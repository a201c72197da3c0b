"""Check the configuration, the versions, and that outside services accept connections."""

import platform
import socket
import time
from collections.abc import Iterator
from importlib.metadata import version
from typing import Final
from urllib.parse import urlsplit

from mirt.settings import Settings, old_names_in_use
from mirt.tokens import ADVISED
from service.admin.doctor.finding import Finding, Severity

LIBRARIES: Final = ("mirt-worker", "dramatiq", "pika", "periodiq", "sqlalchemy", "psycopg", "redis")
CONNECT_S: Final = 3.0


def check_configuration(settings: Settings) -> Iterator[Finding]:
    """Report the configuration and the versions of the installed libraries."""
    yield Finding("configuration", Severity.OK, f"{settings.mode.value} mode, all values are valid")
    for line in old_names_in_use():
        yield Finding("configuration", Severity.WARNING, line, "use the new name")
    versions = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    yield Finding("versions", Severity.OK, f"Python {platform.python_version()}, {versions}")


def check_tokens(settings: Settings) -> Iterator[Finding]:
    """Report tokens that can be guessed."""
    if names := settings.tokens_shorter_than(ADVISED):
        found = f"fewer than {ADVISED} characters: {', '.join(map(str.upper, names))}"
        advice = 'python -c "import secrets; print(secrets.token_urlsafe(24))" makes a better one'
        yield Finding("tokens", Severity.WARNING, found, advice)
    else:
        yield Finding("tokens", Severity.OK, f"none has fewer than {ADVISED} characters")


def check_outside_service(name: str, url: str | None) -> Iterator[Finding]:
    """Connect to an outside service by TCP; no request and no key is sent."""
    if url is None:
        yield Finding(name, Severity.DISABLED, "not configured")
        return
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    started = time.monotonic()
    try:
        socket.create_connection((parts.hostname or "", port), timeout=CONNECT_S).close()
    except OSError as failed:
        took_ms = (time.monotonic() - started) * 1000
        found = f"{parts.hostname}:{port} does not connect: {failed.strerror or failed}"
        advice = "check the network and the address; tasks that need it are retried"
        yield Finding(name, Severity.ERROR, found, advice, took_ms)
        return
    took_ms = (time.monotonic() - started) * 1000
    yield Finding(name, Severity.OK, f"{parts.hostname}:{port} connects", None, took_ms)
