"""Looks at everything at once, and waits for nobody longer than he was given."""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

from mirt.clock import Clock, utc_now
from mirt.errors import WorkerError
from mirt.settings import Settings
from service.admin.doctor.finding import Finding, Verdict
from service.admin.doctor.machine import ask_outside, look_around
from service.admin.doctor.servers import ask_database, ask_rabbitmq, ask_redis

WITHIN_S: Final = 7.0

Check = Callable[[], Iterable[Finding]]


def diagnose(settings: Settings, *, clock: Clock = utc_now) -> list[Finding]:
    """Everything that was found, in the same order every time. It takes ``WITHIN_S`` at most.

    A server that is down keeps nothing else from being looked at. Nothing raises.
    """
    return run(
        {
            "here": lambda: look_around(settings),
            "database": lambda: ask_database(settings, clock),
            "rabbitmq": lambda: ask_rabbitmq(settings),
            "redis": lambda: ask_redis(settings, clock),
            **{
                name: (lambda name=name, url=url: ask_outside(name, url))  # type: ignore[misc]
                for name, url in outside(settings).items()
            },
        }
    )


def run(checks: dict[str, Check], *, within_s: float = WITHIN_S) -> list[Finding]:
    """Run checks side by side; what one of them has found until it hung is kept."""
    deadline = time.monotonic() + within_s
    found: dict[str, list[Finding]] = {name: [] for name in checks}
    # Daemons: one that hangs for ever must not keep the process.
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
                Finding(name, Verdict.WRONG, f"no answer within {within_s:.0f} s", _RESTART)
            )
        elif not found[name]:
            findings.append(Finding(name, Verdict.WRONG, "it could not be looked at: a bug", _BUG))
    return findings


def outside(settings: Settings) -> dict[str, str | None]:
    """Where each service of others is; None for one that is not configured."""
    return {
        "telegram": settings.telegram_api_url if settings.telegram_bot_token else None,
        "manychat": settings.manychat_api_url if settings.manychat_api_key else None,
        "llm": settings.llm_base_url if settings.llm_api_key else None,
        "crm": settings.snitkix_api_url if settings.snitkix_api_key else None,
    }


_RESTART: Final = "it accepts connections and does not answer: look at its machine and its log"


_BUG: Final = "the traceback above says more"


def _fill(found: list[Finding], name: str, check: Check) -> None:
    started = time.monotonic()
    try:
        # One by one, so that what was found before it hangs is there.
        for finding in check():
            found.append(finding)
    except WorkerError as failed:
        took_ms = (time.monotonic() - started) * 1000
        found.append(Finding(name, Verdict.WRONG, failed.message, _ADVICE.get(name), took_ms))


_ADVICE: Final = {
    "database": "start PostgreSQL, or mend DATABASE_URL; until then webhooks are answered 503",
    "rabbitmq": "start RabbitMQ, or mend RABBITMQ_URL; messages are kept and published later",
    "redis": "start Redis, or mend REDIS_URL; until then it is only a little slower",
}
