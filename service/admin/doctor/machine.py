"""Check the configuration and the versions."""

import platform
from collections.abc import Iterator
from importlib.metadata import version
from typing import Final

from mirt.settings import Settings, old_names_in_use
from mirt.tokens import ADVISED
from service.admin.doctor.finding import Finding, Severity

LIBRARIES: Final = ("mirt-worker", "dramatiq", "pika", "periodiq", "sqlalchemy", "psycopg", "redis")


def check_configuration(settings: Settings) -> Iterator[Finding]:
    """Report the configuration and the versions of the installed libraries."""
    yield Finding("configuration", Severity.OK, f"{settings.mode.value} mode, all values are valid")
    for line in old_names_in_use():
        yield Finding("configuration", Severity.WARNING, line, "use the new name")
    if settings.manychat_api_key and None in (settings.manychat_tags, settings.manychat_fields):
        found = "a customer can talk the agent into any tag or field of ManyChat"
        advice = "list the allowed ones in MANYCHAT_TAGS and MANYCHAT_FIELDS (none: not one)"
        yield Finding("agent", Severity.WARNING, found, advice)
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
    if settings.manychat_api_key and not settings.manychat_verify_token:
        found = "no MANYCHAT_VERIFY_TOKEN: no flow is let in from outside"
        advice = "set it, and send it from the flows as X-ManyChat-Token"
        yield Finding("tokens", Severity.ERROR, found, advice)
