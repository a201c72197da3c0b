"""``mirt purge``: moves the waiting tasks of a queue to the dead letters, after a confirmation."""

from datetime import timedelta
from typing import Annotated

import typer

from mirt.counting import counted
from service.admin.purge import preview
from service.admin.purge import purge as move_to_dead_letters
from service.cli import options
from service.cli.context import full_access, read_only
from service.cli.options import Yes, confirm
from service.cli.output import AsJson, emit, say


def purge(
    queue: Annotated[
        str, typer.Argument(help="The queue to empty.", autocompletion=options.queues)
    ],
    *,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Move the waiting tasks of a queue to the dead letters (PURGED). Running tasks go on.

    Messages that wait behind a removed one are removed with it. No customer is told anything. A
    replay brings all of them back.
    """
    with read_only() as context:
        found = preview(context, queue)
        since = context.clock() - timedelta(seconds=1)
    if found.tasks:
        confirm(
            f"Remove {counted(found.tasks, 'task')} of "
            f"{counted(found.conversations, 'conversation')} from {queue}?",
            yes=yes,
        )
        with full_access() as context:
            removed = move_to_dead_letters(context, queue)
    else:
        removed = 0
    replay = f"mirt dead replay --queue {queue} --code PURGED --since {since:%Y-%m-%dT%H:%M:%SZ}"
    if as_json:
        emit({"queue": queue, "removed": removed, "replay": replay if removed else None})
        return
    if not removed:
        say(f"nothing waits in {queue}")
        return
    say(f"{counted(removed, 'task')} removed from {queue}, to the dead letters")
    say(f"  to bring them back: {replay}")
