"""Read the options that choose dead letters."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import typer

from mirt.clock import utc_now
from mirt.errors import PermanentError
from mirt.store.queue.dead_letters import DeadLetterFilter
from service.admin.dead_letters import parse_filter
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
    typer.Option(
        help="Failed since then: 30m, 24h, 7d ago, or an ISO time (UTC if it has no zone)."
    ),
]
Conversation = Annotated[str | None, typer.Option(help="Of this conversation.")]
Cause = Annotated[
    str | None, typer.Option(help="Of this cause, as mirt dead list --group shows it.")
]
Argument = Annotated[
    str | None, typer.Option(help="With this text in the arguments: a phone number, an id.")
]
All = Annotated[bool, typer.Option("--all", help="All dead letters.")]


def read_filter(ids: Sequence[str] | None, **typed: str | None) -> DeadLetterFilter:
    """Return the filter of the options that were given.

    Raises:
        CommandError: an option is empty, is no time, or names an unknown queue, task or code.
    """
    given = {name: text.strip() for name, text in typed.items() if text is not None}
    try:
        # The clock of this machine may be behind: it must hide no dead letter.
        return replace(parse_filter(given, utc_now(), task_ids=ids or ()), until=None)
    except PermanentError as error:
        field, _, problem = error.message.partition(": ")
        raise misused("ID" if field == "id" else f"--{field}", problem) from None


def has_criteria(which: DeadLetterFilter) -> bool:
    """Whether the filter excludes any dead letter of before now."""
    criteria = (which.task_ids, which.queue, which.actor, which.error_code)
    more = (which.since, which.session_id, which.cause, which.argument)
    return any(one is not None for one in (*criteria, *more))
