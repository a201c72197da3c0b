"""Which dead letters are meant, as it is typed."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer

from middleware.policy import QUEUES, TASKS
from mirt.errors import ErrorCode
from mirt.store.queue.dead_letters import DeadLetterFilter
from service.cli import options
from service.cli.errors import misused

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Ids of tasks.")]
Queue = Annotated[str | None, typer.Option(help="Of this queue.", autocompletion=options.queues)]
Task = Annotated[str | None, typer.Option(help="Of this task.", autocompletion=options.tasks)]
Code = Annotated[
    str | None, typer.Option(help="With this error code.", autocompletion=options.codes)
]
Since = Annotated[
    str | None,
    typer.Option(help="Died since then: 30m, 2h, 3d ago, or an ISO time (UTC if it has no zone)."),
]
Conversation = Annotated[str | None, typer.Option(help="Of this conversation.")]
All = Annotated[bool, typer.Option("--all", help="All there are.")]

UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def choice(
    ids: Sequence[str] | None,
    *,
    queue: str | None,
    task: str | None,
    code: str | None,
    since: str | None,
    conversation: str | None,
    now: datetime,
) -> DeadLetterFilter:
    """Those that match everything that was typed, and had died by now.

    Raises:
        CommandError: a name is not known, or a time cannot be read.
    """
    code = code.upper() if code else code
    for name, value, known in (
        ("--queue", queue, QUEUES),
        ("--task", task, TASKS),
        ("--code", code, set(ErrorCode)),
    ):
        if value is not None and value not in known:
            raise misused(name, f"there is no {value}; there are {', '.join(sorted(known))}")
    return DeadLetterFilter(
        task_ids=list(dict.fromkeys(ids)) if ids else None,
        queue=queue,
        actor=task,
        error_code=code,
        since=since_of(since, now) if since else None,
        until=now,
        session_id=conversation,
    )


def names_any(chosen: DeadLetterFilter) -> bool:
    """Whether anything was typed that tells some letters from others."""
    told = (chosen.task_ids, chosen.queue, chosen.actor, chosen.error_code)
    return any(one is not None for one in (*told, chosen.since, chosen.session_id))


def since_of(typed: str, now: datetime) -> datetime:
    """The time that was typed, as an age or as a time.

    Raises:
        CommandError: it is neither.
    """
    try:
        if age := re.fullmatch(r"(\d{1,6})([smhdw])", typed.strip()):
            return now - timedelta(**{UNITS[age[2]]: int(age[1])})
        at = datetime.fromisoformat(typed.strip())
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        problem = f"{typed!r} is neither an age like 30m, 2h, 3d nor a time like 2026-03-01T12:00"
        raise misused("--since", problem) from None
