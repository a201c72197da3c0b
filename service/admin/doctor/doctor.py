"""Run all checks in parallel, with a time limit for each."""

import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from mirt.clock import Clock, utc_now
from mirt.errors import ServerUrlError, WorkerError
from mirt.runtime import open_checkable
from mirt.settings import Settings
from service.admin.doctor.consumers import check_consumers
from service.admin.doctor.finding import Finding, Severity
from service.admin.doctor.machine import check_configuration, check_tokens
from service.admin.doctor.outside import check_outside_service
from service.admin.doctor.servers import check_database, check_rabbitmq, check_redis

TIMEOUT_S: Final = 7.0

Check = Callable[[], Iterable[Finding]]


def diagnose(settings: Settings, *, clock: Clock = utc_now) -> list[Finding]:
    """Return all findings, always in the same order, after at most ``TIMEOUT_S`` seconds.

    A server that is down delays no other check. No check raises.
    """
    return run(
        {
            "here": lambda: check_configuration(settings),
            "tokens": lambda: check_tokens(settings),
            "database": lambda: check_database(settings, clock),
            "rabbitmq": lambda: check_rabbitmq(settings),
            "consumers": lambda: check_consumers(settings, clock),
            "redis": lambda: check_redis(settings, clock),
            **{
                name: partial(check_outside_service, name, service, settings, clock)
                for name, service in open_checkable(settings).items()
            },
        }
    )


def run(checks: dict[str, Check], *, within_s: float = TIMEOUT_S) -> list[Finding]:
    """Run checks in parallel; the findings of a check from before it hung are kept."""
    deadline = time.monotonic() + within_s
    found: dict[str, list[Finding]] = {name: [] for name in checks}
    # Daemon threads: a check that hangs for ever must not keep the process alive.
    threads = {
        name: threading.Thread(target=_fill, args=(found[name], name, check), daemon=True)
        for name, check in checks.items()
    }
    for thread in threads.values():
        thread.start()
    findings: list[Finding] = []
    for name, thread in threads.items():
        thread.join(max(0.0, deadline - time.monotonic()))
        findings += list(found[name])
        if thread.is_alive():
            findings.append(
                Finding(name, Severity.ERROR, f"no answer within {within_s:.0f} s", _RESTART)
            )
        elif not found[name] and name not in _MAY_BE_SILENT:
            findings.append(Finding(name, Severity.ERROR, "the check failed: a bug", _BUG))
    return findings


_MAY_BE_SILENT: Final = frozenset({"consumers"})
"""Checks without a finding where there is nothing to check."""

_RESTART: Final = "it accepts connections and does not answer: check its machine and its log"


_BUG: Final = "the traceback above says more"


def _fill(found: list[Finding], name: str, check: Check) -> None:
    started = time.monotonic()
    try:
        # One by one, so that the findings from before it hangs are kept.
        for finding in check():
            found.append(finding)
    except ServerUrlError as wrong:
        advice = f"correct {wrong.setting}, and restart"
        found.append(Finding(name, Severity.ERROR, wrong.message, advice))
    except WorkerError as failed:
        took_ms = (time.monotonic() - started) * 1000
        found.append(Finding(name, Severity.ERROR, failed.message, _ADVICE.get(name), took_ms))


_ADVICE: Final = {
    "database": "start PostgreSQL, or correct DATABASE_URL; until then webhooks are answered 503",
    "rabbitmq": "start RabbitMQ, or correct RABBITMQ_URL; messages are stored and published later",
    "redis": "start Redis, or correct REDIS_URL; until then the service is a little slower",
}
