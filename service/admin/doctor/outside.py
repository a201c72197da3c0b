"""Check the outside services: that they take our key, and that messages can arrive."""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from mirt.channels import RegisteringChannel
from mirt.clock import Clock
from mirt.errors import DatabaseError, OutageError, RateLimitError, WorkerError
from mirt.http import CheckableService
from mirt.settings import Mode, Settings
from mirt.store.engine.database import Database
from mirt.store.shop import webhooks
from mirt.store.shop.webhooks import WebhookState
from mirt.webhooks import problems_of, report_now, short
from service.admin.doctor.finding import Finding, Severity

_NETWORK: Final = "check the network and the address; its work waits until it answers"


def check_outside_service(
    name: str, service: CheckableService | None, settings: Settings, clock: Clock
) -> Iterator[Finding]:
    """Ask a service whether it takes our key, and a channel where its messages go."""
    if service is None:
        yield Finding(name, Severity.DISABLED, "not configured")
        return
    started = time.monotonic()
    try:
        report = service.check()
        took_ms = (time.monotonic() - started) * 1000
        severity = Severity.OK if report.advice is None else Severity.WARNING
        severity = severity if report.works else Severity.ERROR
        yield Finding(name, severity, report.found, report.advice, took_ms)
        if isinstance(service, RegisteringChannel):
            yield from _check_webhook(name, service, settings, clock)
    except WorkerError as failed:
        yield replace(_failure(name, failed), took_ms=(time.monotonic() - started) * 1000)
    finally:
        service.close()


def _failure(name: str, failed: WorkerError) -> Finding:
    match failed:
        case OutageError(setting=str(setting)):
            found = f"it refuses us ({f'{failed.code} {failed.reason}'.strip()})"
            advice = f"correct {setting} and restart, or mend the account"
            return Finding(name, Severity.ERROR, found, advice)
        case RateLimitError():
            return Finding(name, Severity.WARNING, failed.message, "ask again later")
        case _:
            return Finding(name, Severity.ERROR, failed.message, _NETWORK)


def _check_webhook(
    name: str, channel: RegisteringChannel, settings: Settings, clock: Clock
) -> Iterator[Finding]:
    now = clock()
    stored = _stored_state(name, settings) or WebhookState(
        name, is_polled=settings.mode is Mode.EMBEDDED
    )
    state = report_now(stored, channel, now)
    problems = list(problems_of(state, now))
    for problem in problems:
        yield Finding("webhook", Severity.ERROR, problem.what, problem.command)
    if not problems:
        how = f"messages come to {short(state.url)}" if state.url else "messages are fetched"
        yield Finding("webhook", Severity.OK, f"{how}, {state.pending} wait at {name.capitalize()}")


def _stored_state(name: str, settings: Settings) -> WebhookState | None:
    """Return what is stored about the webhook; None if the database cannot tell."""
    database = Database(settings.database_url.get_secret_value(), pool_size=1, reads_only=True)
    try:
        if database.is_sqlite and not Path(str(database.url.database)).exists():
            return None
        with suppress(DatabaseError), database.transaction() as tx:
            return next((one for one in webhooks.read(tx) if one.channel == name), None)
        return None
    finally:
        database.close()
