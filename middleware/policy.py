"""Lists every queue and every task with its limits and retries. No other module has them.

To add a task, add its name to ``mirt.task_names``, its line here, and an actor in ``actors/``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from mirt.task_names import TaskName

LONGEST_TASK_ID: Final = 500
"""Characters."""
LONGEST_TASK_S: Final = 120.0
"""Seconds: the longest hard limit that a task may have, so the longest hold of a message.

RabbitMQ closes the channel of a consumer that holds a message past the consumer timeout, and a
worker that stops waits for its tasks. Cut longer work into steps: each step sends the next one,
with a delay if it has to wait.
"""


class ScheduleError(Exception):
    """A schedule of the policy table that no clock can follow; the text names the task."""


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """A queue, and the limits (s) of its tasks that have none of their own."""

    name: str
    soft_s: float
    hard_s: float
    purpose: str


@dataclass(frozen=True, slots=True)
class TaskPolicy:
    """Limits of a task (s), its attempts after the first, and the longest pause before one (s)."""

    name: str
    queue: str
    soft_s: float
    hard_s: float
    retries: int
    max_backoff_s: float
    schedule: str | None = None
    """Cron line in ``tz``; None for a task that is not scheduled."""
    session_argument: str = "session_id"
    """Argument that names the conversation; a dot leads into a dictionary."""
    channel_argument: str | None = None
    """Argument that names the channel to which the task sends, if it sends to one."""
    tz: str = "UTC"
    """Time zone of the schedule, by its name in the tz database."""


QUEUES: Final[Mapping[str, QueuePolicy]] = {
    queue.name: queue
    for queue in (
        QueuePolicy("llm", 55, 60, "agent turns"),
        QueuePolicy("summarization", 110, 120, "summaries"),
        QueuePolicy("followups", 55, 60, "reminders"),
        QueuePolicy("crm", 25, 30, "orders"),
        QueuePolicy("webhooks", 25, 30, "delivery of replies"),
        QueuePolicy("default", 8, 10, "health, misc"),
    )
}


def _task(
    name: str,
    queue: str,
    *,
    retries: int = 0,
    max_backoff_s: float = 0,
    limits: tuple[float, float] | None = None,
    schedule: str | None = None,
    session_argument: str = "session_id",
    channel_argument: str | None = None,
    tz: str = "UTC",
) -> TaskPolicy:
    _check_zone(name, tz)
    soft_s, hard_s = limits or (QUEUES[queue].soft_s, QUEUES[queue].hard_s)
    return TaskPolicy(
        name,
        queue,
        soft_s,
        hard_s,
        retries,
        max_backoff_s,
        schedule,
        session_argument,
        channel_argument,
        tz,
    )


def _check_zone(name: str, tz: str) -> None:
    try:
        ZoneInfo(tz)
    except (KeyError, ValueError, OSError):
        raise ScheduleError(f"{name}: {tz!r} is no time zone; Europe/Kyiv is one") from None


TASKS: Final[Mapping[str, TaskPolicy]] = {
    task.name: task
    for task in (
        _task(
            TaskName.PROCESS_MESSAGE,
            "llm",
            retries=3,
            max_backoff_s=300,
            channel_argument="platform",
        ),
        _task(
            TaskName.PROCESS_AND_RESPOND,
            "llm",
            retries=3,
            max_backoff_s=300,
            limits=(85, 90),
            channel_argument="platform",
        ),
        _task(
            TaskName.SEND_RESPONSE,
            "webhooks",
            retries=5,
            max_backoff_s=300,
            session_argument="chat_id",
            channel_argument="platform",
        ),
        _task(
            TaskName.SEND_DELAY_NOTICE,
            "webhooks",
            retries=1,
            max_backoff_s=10,
            channel_argument="platform",
        ),
        _task(
            TaskName.MARK_CUSTOMER,
            "webhooks",
            retries=5,
            max_backoff_s=300,
            session_argument="chat_id",
            channel_argument="platform",
        ),
        _task(TaskName.SUMMARIZE_SESSION, "summarization", retries=3, max_backoff_s=600),
        _task(TaskName.CHECK_ALL_SESSIONS_FOR_SUMMARIZATION, "summarization", schedule="0 * * * *"),
        _task(
            TaskName.SEND_FOLLOWUP,
            "followups",
            retries=3,
            max_backoff_s=300,
            channel_argument="channel",
        ),
        _task(TaskName.SCHEDULE_FOLLOWUP, "followups", retries=3, max_backoff_s=300),
        _task(TaskName.SET_FOLLOWUPS, "followups", retries=3, max_backoff_s=300),
        _task(TaskName.CHECK_ALL_SESSIONS_FOR_FOLLOWUPS, "followups", schedule="*/15 * * * *"),
        _task(
            TaskName.CREATE_CRM_ORDER,
            "crm",
            retries=5,
            max_backoff_s=600,
            session_argument="order_data.source_id",
        ),
        _task(TaskName.SYNC_ORDER_STATUS, "crm", retries=3, max_backoff_s=600),
        _task(TaskName.SYNC_OPEN_ORDERS, "crm", schedule="*/15 * * * *"),
        _task(TaskName.TELL_STAFF, "webhooks", retries=5, max_backoff_s=300),
        _task(TaskName.END_HANDOVER, "default", retries=5, max_backoff_s=300),
        _task(TaskName.PING, "default", limits=(5, 10)),
        _task(TaskName.WORKER_HEALTH_CHECK, "default", schedule="*/5 * * * *"),
        _task(TaskName.CHECK_WEBHOOKS, "default", schedule="* * * * *"),
        _task(TaskName.SWEEP_MAILBOXES, "default", schedule="* * * * *"),
        _task(
            TaskName.REMOVE_OLD_ROWS,
            "default",
            retries=3,
            max_backoff_s=300,
            limits=(110, 120),
            schedule="30 3 * * *",
        ),
    )
}


def tasks_of(queue: str) -> list[str]:
    """Return the names of the tasks that run on a queue."""
    return [task.name for task in TASKS.values() if task.queue == queue]
