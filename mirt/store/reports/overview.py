"""Count what happens now, for operators: tasks, runs, minutes and unknown outcomes.

The queries of unfinished tasks use partial indexes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, case, extract, func, select

from mirt.store.queue.events import EventKind
from mirt.store.queue.tasks import TaskState
from mirt.store.shop.mailbox import MailState
from mirt.store.tables import (
    conversations,
    dead_letters,
    deliveries,
    inbox,
    orders,
    task_events,
    tasks,
)


@dataclass(frozen=True, slots=True)
class TaskCounts:
    """The number of tasks of one actor in each state; ``done`` counts only the latest ones.

    ``oldest_at`` is the time since which the oldest task that never started has waited.
    """

    actor: str
    ready: int = 0
    running: int = 0
    delayed: int = 0
    done: int = 0
    oldest_at: datetime | None = None
    codes: Mapping[str, int] = field(default_factory=dict)
    """The dead letters by their error code."""


@dataclass(frozen=True, slots=True)
class Run:
    """A running task and its worker."""

    task_id: str
    actor: str
    worker_id: str | None
    session_id: str | None
    trace_id: str | None
    attempt: int
    starts: int
    started_at: datetime
    lease_until: datetime | None


@dataclass(frozen=True, slots=True)
class Minute:
    """One minute: the number of mail answered and of tasks failed, and the seconds per answer."""

    at: datetime
    answered: int = 0
    failed: int = 0
    mean_s: float = 0.0
    slowest_s: float = 0.0


class Effect(StrEnum):
    """The kinds of effects that can have an unknown outcome."""

    REPLY = "reply"
    ORDER = "order"


@dataclass(frozen=True, slots=True)
class Unknown:
    """Number of effects with an unknown outcome, and where the latest one is shown.

    The latest one is shown under its conversation, or under its trace if it has none.
    """

    count: int
    session_id: str | None
    trace_id: str


def task_counts(tx: Connection, *, since: datetime) -> list[TaskCounts]:
    """Return the counts of each actor that has any task; ``done`` counts from ``since`` on."""
    found: dict[str, dict[str, Any]] = {}
    state = tasks.c.state
    unbegun = case((state == TaskState.QUEUED, case((tasks.c.fence == 0, tasks.c.waits_since))))
    open_ = select(
        tasks.c.actor,
        *(
            func.count(case((state == counted_state, 1)))
            for counted_state in (TaskState.QUEUED, TaskState.RUNNING, TaskState.DELAYED)
        ),
        func.min(unbegun),
    )
    for actor, ready, running, delayed, oldest_at in tx.execute(
        open_.where(tasks.c.due_at.is_not(None)).group_by(tasks.c.actor)
    ):
        found[actor] = {
            "ready": ready,
            "running": running,
            "delayed": delayed,
            "oldest_at": oldest_at,
        }
    done = select(tasks.c.actor, func.count()).where(
        tasks.c.finished_at >= since, state == TaskState.DONE
    )
    for actor, count in tx.execute(done.group_by(tasks.c.actor)):
        found.setdefault(actor, {})["done"] = count
    kind = dead_letters.c.actor, dead_letters.c.error_code
    for actor, code, count in tx.execute(select(*kind, func.count()).group_by(*kind)):
        found.setdefault(actor, {}).setdefault("codes", {})[code] = count
    return [TaskCounts(actor, **values) for actor, values in sorted(found.items())]


def running(tx: Connection, *, limit: int) -> list[Run]:
    """Return at most ``limit`` running tasks, the longest first."""
    rows = tx.execute(
        select(
            tasks.c.id,
            tasks.c.actor,
            tasks.c.owner,
            tasks.c.session_id,
            tasks.c.trace_id,
            tasks.c.attempt,
            tasks.c.starts,
            tasks.c.started_at,
            tasks.c.due_at,
        )
        .where(tasks.c.due_at.is_not(None), tasks.c.state == TaskState.RUNNING)
        .order_by(tasks.c.started_at)
        .limit(limit)
    )
    return [Run(*row) for row in rows]


def minutes(tx: Connection, *, since: datetime) -> list[Minute]:
    """Return the minutes from ``since`` on in which mail was answered or a task died."""
    found: dict[int, dict[str, Any]] = {}
    took = _seconds(inbox.c.finished_at) - _seconds(inbox.c.received_at)
    minute = _minute(inbox.c.finished_at)
    for number, answered, mean_s, slowest_s in tx.execute(
        select(minute, func.count(), func.avg(took), func.max(took))
        .where(inbox.c.finished_at >= since, inbox.c.state == MailState.ANSWERED)
        .group_by(minute)
    ):
        found[int(number)] = {
            "answered": answered,
            "mean_s": float(mean_s),
            "slowest_s": float(slowest_s),
        }
    minute = _minute(task_events.c.at)
    for number, failed in tx.execute(
        select(minute, func.count())
        .where(task_events.c.at >= since, task_events.c.kind == EventKind.DIED)
        .group_by(minute)
    ):
        found.setdefault(int(number), {})["failed"] = failed
    return [
        Minute(datetime.fromtimestamp(60 * number, since.tzinfo), **values)
        for number, values in sorted(found.items())
    ]


def unknown_since(tx: Connection, since: datetime) -> dict[Effect, Unknown]:
    """Return the unknown outcomes from ``since`` on, for each kind of effect that has any."""
    found = {}
    for effect, table in {Effect.REPLY: deliveries, Effect.ORDER: orders}.items():
        conditions = (table.c.unknown > 0, table.c.created_at >= since)
        count = select(func.count()).select_from(table).where(*conditions).correlate(None)
        session_id = select(conversations.c.session_id).where(
            conversations.c.session_id == table.c.session_id
        )
        latest = tx.execute(
            select(count.scalar_subquery(), session_id.scalar_subquery(), table.c.trace_id)
            .where(*conditions)
            .order_by(table.c.created_at.desc())
            .limit(1)
        ).one_or_none()
        if latest is not None:
            found[effect] = Unknown(*latest)
    return found


def _seconds(at: Any) -> Any:
    return extract("epoch", at)


def _minute(at: Any) -> Any:
    return func.floor(_seconds(at) / 60).label("minute")
