"""Find problems of the running service: one sentence each, and a command that helps."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote

from mirt.clock import format_duration
from mirt.counting import counted
from mirt.store.queue.health_checks import checks_of_workers
from mirt.store.queue.holds import Hold, open_holds
from mirt.store.queue.pauses import Pause, PauseKind, all_pauses
from mirt.store.queue.workers import PUBLISHING
from mirt.store.reports import overview
from mirt.store.reports.handovers import OpenHandover, open_handovers
from mirt.store.reports.overview import Effect, Unknown
from mirt.store.shop import order_approvals, webhooks
from mirt.store.shop.handovers import HandoverState
from mirt.store.shop.mailbox import count_dead_heads
from mirt.store.shop.webhooks import WebhookState
from mirt.webhooks import problems_of
from service.admin.context import AdminContext
from service.admin.queues import Activity, transport_problems
from service.admin.schedule import ScheduledTask

NAMES: Final = {
    "llm": "the LLM",
    "crm": "the CRM",
    "telegram": "Telegram",
    "manychat": "ManyChat",
    "staff": "the webhook of the staff",
}
"""Names of the outside services in a sentence."""
WORKERS: Final = "workers"
SCHEDULER: Final = "scheduler"
WEBHOOK: Final = "webhook"
RABBITMQ: Final = "rabbitmq"
MEND_RABBITMQ: Final = "mend it in RabbitMQ; the workers try again every few seconds"
FIRST_TICK_S: Final = 120.0
"""Seconds of uptime in which a deployment may not have sent its first tick yet."""
WAITS_LONG_S: Final = 60.0
UNATTENDED_AFTER: Final = timedelta(minutes=10)
"""Wait for a person that is too long."""
MOST_HANDOVERS: Final = 100
UNKNOWN_SINCE: Final = timedelta(hours=24)
HEALTH_CHECK_VALID_FOR: Final = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem. ``command`` solves it or shows more; ``page`` is the page of ``/ops`` to open.

    ``about`` names its subject in a word.
    """

    about: str
    what: str
    command: str
    page: str


def findings(
    context: AdminContext, now: Activity, scheduled: Sequence[ScheduledTask]
) -> list[Problem]:
    """Return all problems, the worst first; none if all is well.

    The number of queries does not grow with the number of rows.

    Raises:
        DatabaseError: the database cannot be read.
    """
    is_embedded = context.database.is_sqlite
    with context.database.transaction() as tx:
        unknown = overview.unknown_since(tx, now.at - UNKNOWN_SINCE)
        checks = list(checks_of_workers(tx, since=now.at - HEALTH_CHECK_VALID_FOR))
        held = open_holds(tx)
        paused = all_pauses(tx)
        stuck = count_dead_heads(tx)
        states = webhooks.read(tx)
        to_approve = order_approvals.count_waiting(tx)
        with_people = open_handovers(tx, limit=MOST_HANDOVERS)
    living_ids = {one.worker.id for one in now.workers}
    unhealthy = {worker: found for worker, found, _ in checks if worker in living_ids}
    return [
        *_of_holds(held, now),
        *_of_pauses(paused, now),
        *_of_webhooks(states, now.at),
        *_of_transport(now),
        *_of_workers(now, "mirt up" if is_embedded else "mirt worker"),
        *_of_queues(now),
        *_of_runs(now),
        *_of_heads(stuck),
        *_of_dead_letters(now),
        *_of_schedule(scheduled, now, "mirt up" if is_embedded else "mirt scheduler"),
        *_of_health(unhealthy),
        *_of_outcomes(unknown),
        *_of_orders(*to_approve, now.at),
        *_of_handovers(with_people, now.at),
    ]


def _of_holds(held: Sequence[Hold], now: Activity) -> Iterator[Problem]:
    for hold in held:
        name = NAMES.get(hold.service, hold.service)
        verb = "fails" if hold.setting is None else "refuses"
        yield Problem(
            hold.service,
            f"{name} {verb} ({f'{hold.code} {hold.reason}'.strip()}) "
            f"since {_since(hold.since, now)}, "
            f"{_waiting(hold.conversations, 'conversation')}",
            _cure(hold),
            "/ops/conversations?kind=waiting",
        )


def _of_pauses(paused: Sequence[Pause], now: Activity) -> Iterator[Problem]:
    for pause in paused:
        subject = pause.subject
        page = "/ops/queues"
        if subject.kind is PauseKind.CONVERSATION:
            page = f"/ops/trace?id={quote(subject.name, safe='')}"
        yield Problem(
            "paused",
            f"{subject} is paused since {_since(pause.since, now)} by {pause.operator}, "
            f"{_waiting(pause.conversations, 'conversation')}",
            f"mirt resume {subject}",
            page,
        )


def _since(at: datetime, now: Activity) -> str:
    today = at.date() == now.at.date()
    return f"{at:%H:%M} UTC" if today else f"{at:%Y-%m-%d %H:%M} UTC"


def _cure(hold: Hold) -> str:
    if hold.setting is None:
        return "mirt doctor"
    return f"correct {hold.setting} and restart, or mend its account"


def _of_heads(stuck: int) -> Iterator[Problem]:
    if stuck:
        yield Problem(
            "mailboxes",
            f"{counted(stuck, 'conversation has', 'conversations have')} a head that is not alive; "
            "the next sweep makes another one",
            "mirt inspect",
            "/ops/conversations?kind=waiting",
        )


def _of_webhooks(states: Sequence[WebhookState], now: datetime) -> Iterator[Problem]:
    for state in states:
        for problem in problems_of(state, now):
            yield Problem(WEBHOOK, problem.what, problem.command, "/ops")


def _of_workers(now: Activity, start: str) -> Iterator[Problem]:
    idle = [queue for queue in now.queues if not queue.workers]
    if not now.workers:
        yield Problem(WORKERS, "no worker is running", start, "/ops")
    elif idle:
        names = [queue.name for queue in idle]
        found = f"no worker serves {', '.join(names)}"
        if ready := sum(queue.ready for queue in idle):
            found += f", where {_waiting(ready, 'task')}"
        yield Problem(WORKERS, found, f"{start} {' '.join(names)}", "/ops")


def _of_transport(now: Activity) -> Iterator[Problem]:
    for found in transport_problems(one.worker for one in now.workers):
        many = len(found.hosts)
        who = f"the worker on {found.hosts[0]}" if many == 1 else f"each of {many} workers"
        received = ", ".join(name for name in found.queues if name != PUBLISHING)
        cannot = [f"receives nothing from {received}"] if received else []
        cannot += ["cannot publish"] if PUBLISHING in found.queues else []
        what = f"{who} {' and '.join(cannot)}: {found.why}"
        yield Problem(RABBITMQ, what, MEND_RABBITMQ, "/ops/queues")


def _of_queues(now: Activity) -> Iterator[Problem]:
    for queue in now.queues:
        waits = f"{_waiting(queue.ready, 'task')} in {queue.name}"
        if queue.workers and queue.oldest_wait_s > WAITS_LONG_S:
            yield Problem(
                queue.name,
                f"{waits}, the oldest for {format_duration(queue.oldest_wait_s)}",
                "mirt inspect active",
                "/ops/conversations?kind=waiting",
            )


def _of_runs(now: Activity) -> Iterator[Problem]:
    for run in now.runs:
        if run.is_late:
            subject = f" for conversation {run.session_id}" if run.session_id else ""
            yield Problem(
                run.queue,
                f"{run.task}{subject} has been running for {format_duration(run.running_s)} "
                f"(limit {format_duration(run.soft_s)}), attempt {run.attempt}",
                f"mirt trace {run.task_id}",
                f"/ops/trace?id={quote(run.session_id or run.task_id, safe='')}",
            )


def _of_dead_letters(now: Activity) -> Iterator[Problem]:
    dead = {queue: codes for queue, codes in now.dead.items() if codes}
    if dead:
        counts = {queue: sum(codes.values()) for queue, codes in dead.items()}
        where = ", ".join(f"{counts[q]:,} of {q} ({_by_code(codes)})" for q, codes in dead.items())
        found = f"{counted(sum(counts.values()), 'dead letter')}: {where}"
        yield Problem("dead letters", found, "mirt dead list", "/ops/dead")


def _by_code(codes: Mapping[str, int]) -> str:
    if len(codes) == 1:
        return next(iter(codes))
    return ", ".join(f"{count:,} × {code}" for code, count in codes.items())


def _of_schedule(
    scheduled: Sequence[ScheduledTask], now: Activity, start: str
) -> Iterator[Problem]:
    late = [one.task for one in scheduled if one.is_late]
    if late:
        found = f"the scheduler sent no tick for {', '.join(late)}"
        yield Problem(SCHEDULER, found, start, "/ops/schedule")
    has_ticked = any(one.last_at is not None for one in scheduled)
    is_new = any(one.uptime_s < FIRST_TICK_S for one in now.workers)
    if scheduled and not has_ticked and not is_new:
        yield Problem(SCHEDULER, "the scheduler has never sent a tick", start, "/ops/schedule")


def _of_health(unhealthy: dict[str, dict[str, str]]) -> Iterator[Problem]:
    for worker, checks in sorted(unhealthy.items()):
        failing = {name: found for name, found in checks.items() if found not in {"ok", "off"}}
        if failing:
            found = ", ".join(f"{name} ({why})" for name, why in failing.items())
            what = f"worker {worker} cannot reach {found}"
            yield Problem(WORKERS, what, "mirt doctor", "/ops")


def _of_outcomes(unknown: Mapping[Effect, Unknown]) -> Iterator[Problem]:
    for effect, found in unknown.items():
        page = "/ops/conversations?kind=unknown"
        if found.session_id is None:
            page = f"/ops/trace?id={quote(found.trace_id, safe='')}"
        yield Problem(
            "outcomes",
            f"{counted(found.count, effect.value)} with an unknown outcome in the last 24 h",
            f"mirt trace {found.session_id or found.trace_id}",
            page,
        )


def _of_orders(count: int, since: datetime | None, now: datetime) -> Iterator[Problem]:
    if count and since is not None:
        waited = format_duration((now - since).total_seconds())
        yield Problem(
            "orders",
            f"{_waiting(count, 'order')} for a person to confirm, the oldest for {waited}",
            "mirt orders list",
            "/ops/orders",
        )


def _of_handovers(found: Sequence[OpenHandover], now: datetime) -> Iterator[Problem]:
    for one in found:
        if one.waits_since is None or now - one.waits_since < UNATTENDED_AFTER:
            continue
        waited = format_duration((now - one.waits_since).total_seconds())
        what = f"{one.by} has not answered conversation {one.session_id} for {waited}"
        if one.state is HandoverState.ASKED:
            what = f"conversation {one.session_id} has waited for a person for {waited}"
        page = f"/ops/trace?id={quote(one.session_id, safe='')}"
        yield Problem("handovers", what, f"mirt takeover {one.session_id}", page)


def _waiting(number: int, noun: str) -> str:
    return counted(number, f"{noun} waits", f"{noun}s wait")
