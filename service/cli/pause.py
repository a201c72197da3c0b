"""``mirt pause`` and ``mirt resume``: hold the work of a queue, task, channel or conversation."""

from collections.abc import Iterator
from typing import Annotated

import typer

from mirt.counting import counted
from mirt.store.queue.pauses import PauseKind
from service.admin import pauses
from service.cli import options
from service.cli.context import database_only
from service.cli.errors import CommandError
from service.cli.output import AsJson, emit, say


def _kinds(incomplete: str) -> Iterator[str]:
    yield from (kind for kind in PauseKind if kind.startswith(incomplete))


Kind = Annotated[
    str,
    typer.Argument(help="queue, task, channel or conversation.", autocompletion=_kinds),
]
Name = Annotated[
    str,
    typer.Argument(
        help="Name of the queue, task or channel; id of the conversation.",
        autocompletion=options.subjects,
    ),
]


def pause(kind: Kind, name: Name, *, as_json: AsJson = False) -> None:
    """Start nothing more of a queue, a task, a channel or a conversation, until it is resumed.

    Running tasks end. Webhooks are accepted, and their messages wait at no cost.
    """
    subject = pauses.read_subject(kind, name)
    with database_only() as context:
        is_new = pauses.pause(context, subject)
    if as_json:
        emit({"kind": subject.kind, "name": name, "paused": True, "new": is_new})
        return
    say(f"{subject} is paused" if is_new else f"{subject} was paused already")
    say(f"  to go on: mirt resume {subject}")


def resume(kind: Kind, name: Name, *, as_json: AsJson = False) -> None:
    """Let paused work go on, in its order. Exit code 1 if it is not paused."""
    subject = pauses.read_subject(kind, name)
    with database_only() as context:
        count = pauses.resume(context, subject)
    if count is None:
        raise CommandError(kind, f"{name} is not paused", "NOT_FOUND")
    if as_json:
        emit({"kind": subject.kind, "name": name, "paused": False, "tasks": count})
        return
    say(f"{subject} goes on; {counted(count, 'task')} waited")
