"""``mirt dead``: what failed for good, and what is to become of it."""

import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from mirt.clock import utc_now
from mirt.store.queue.dead_letters import DeadLetter, DeadLetterFilter
from service.admin import dead_letters
from service.admin.redaction import without_texts
from service.cli.context import CommandContext, full_access, read_only
from service.cli.dead_letter_filter import (
    All,
    Code,
    Conversation,
    Ids,
    Queue,
    Since,
    Task,
    choice,
    names_any,
)
from service.cli.errors import misused, not_found
from service.cli.options import Yes, confirm
from service.cli.output import AsJson, Column, Row, emit, moment, say, table

dead = typer.Typer(
    help="What failed for good, with its why, until you decide: run it again or forget it.",
    no_args_is_help=True,
    add_completion=False,
)

Limit = Annotated[int, typer.Option(min=1, max=10_000, help="Show this many, the latest first.")]
Texts = Annotated[bool, typer.Option("--texts", help="Show what customers wrote, too.")]


@dead.command("list")
def list_(
    ids: Ids = None,
    *,
    queue: Queue = None,
    task: Task = None,
    code: Code = None,
    since: Since = None,
    conversation: Conversation = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """The dead letters that match all that is given, the latest first."""
    chosen = choice(
        ids,
        queue=queue,
        task=task,
        code=code,
        since=since,
        conversation=conversation,
        now=utc_now(),
    )
    with read_only() as context:
        found = dead_letters.find(context, chosen, limit=limit)
    if as_json:
        emit({"total": found.total, "letters": [_document(one) for one in found.letters]})
        return
    _table(found.letters)
    if found.total > len(found.letters):
        say(f"{len(found.letters)} of {found.total}; --limit shows more")


def _table(found: Sequence[DeadLetter]) -> None:
    columns = (
        Column("DIED (UTC)", spare=2),
        Column("TASK"),
        Column("CODE", style="red"),
        Column("ATTEMPTS", "right", spare=4),
        Column("CONVERSATION", spare=1),
        Column("ID", spare=3, style="dim"),
        Column("WHY", spare=5),
    )
    rows: list[Row] = [
        (
            (
                moment(one.died_at),
                one.task.actor or "(unread)",
                one.error_code,
                one.attempts,
                one.session_id,
                one.task.task_id,
                " ".join(one.exception.split())[:120],
            ),
            None,
        )
        for one in found
    ]
    table(columns, rows, empty="no dead letter")


@dead.command()
def show(
    task_id: Annotated[str, typer.Argument(metavar="ID", help="The id of the task.")],
    *,
    texts: Texts = False,
    as_json: AsJson = False,
) -> None:
    """All of a dead letter: arguments, error, traceback, times."""
    with read_only() as context:
        letter = dead_letters.show(context, task_id)
    if letter is None:
        raise not_found("ID", f"no dead letter of a task {task_id}; mirt dead list")
    arguments = _arguments(letter, texts=texts)
    if as_json:
        emit({**_document(letter), "arguments": arguments, "traceback": letter.traceback})
        return
    for name, value in {
        "task": letter.task.actor or "(unread)",
        "id": letter.task.task_id,
        "queue": letter.queue,
        "code": letter.error_code,
        "why": letter.exception,
        "attempts": str(letter.attempts),
        "sent": moment(letter.sent_at),
        "died": moment(letter.died_at),
        "conversation": letter.session_id or "-",
        "trace": letter.trace_id or "-",
        "arguments": json.dumps(arguments, ensure_ascii=False),
    }.items():
        say(f"{name:<14}{value}", style="red" if name == "code" else None)
    if letter.traceback:
        say("", letter.traceback.rstrip(), style="dim")
    say("", f"mirt dead replay {task_id}", f"mirt dead discard {task_id}")


@dead.command()
def replay(
    ids: Ids = None,
    *,
    queue: Queue = None,
    task: Task = None,
    code: Code = None,
    since: Since = None,
    conversation: Conversation = None,
    everything: All = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Run dead letters once more, each exactly once, with their traces."""
    chosen = _decided(ids, queue, task, code, since, conversation, everything=everything)
    _each(chosen, "Run", "again", dead_letters.replay, "replayed", yes=yes, as_json=as_json)


@dead.command()
def discard(
    ids: Ids = None,
    *,
    queue: Queue = None,
    task: Task = None,
    code: Code = None,
    since: Since = None,
    conversation: Conversation = None,
    everything: All = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Forget dead letters for good."""
    chosen = _decided(ids, queue, task, code, since, conversation, everything=everything)
    _each(chosen, "Forget", "for good", dead_letters.discard, "discarded", yes=yes, as_json=as_json)


def _decided(
    ids: list[str] | None,
    queue: str | None,
    task: str | None,
    code: str | None,
    since: str | None,
    conversation: str | None,
    *,
    everything: bool,
) -> DeadLetterFilter:
    chosen = choice(
        ids,
        queue=queue,
        task=task,
        code=code,
        since=since,
        conversation=conversation,
        now=utc_now(),
    )
    if names_any(chosen) == everything:
        problem = "not together with --all" if everything else "say which, or --all"
        raise misused("ID", problem)
    return chosen


def _each(
    chosen: DeadLetterFilter,
    verb: str,
    how: str,
    act: Callable[[CommandContext, DeadLetterFilter], int],
    done: str,
    *,
    yes: bool,
    as_json: bool,
) -> None:
    """Count, ask, and do it to no more than was counted: what dies meanwhile is left."""
    with read_only() as context:
        found = dead_letters.find(context, chosen, limit=len(chosen.task_ids or ()) or 1)
    if chosen.task_ids:
        known = {one.task.task_id for one in found.letters}
        if missing := [one for one in chosen.task_ids if one not in known]:
            raise not_found("ID", f"no dead letter matches {', '.join(missing)}; nothing was done")
    if not found.total:
        raise not_found("ID", "no dead letter matches")
    if found.total > 1:
        confirm(f"{verb} {found.total} dead letters {how}?", yes=yes)
    with full_access() as context:
        count = act(context, chosen)
    if as_json:
        emit({"counted": found.total, done: count})
        return
    left = found.total - count
    say(f"{count} {done}" + (f"; {left} left: this version does not know them" if left else ""))


def _document(letter: DeadLetter) -> dict[str, Any]:
    return {
        "task_id": letter.task.task_id,
        "task": letter.task.actor,
        "queue": letter.queue,
        "code": letter.error_code,
        "why": letter.exception,
        "attempts": letter.attempts,
        "session_id": letter.session_id,
        "trace_id": letter.trace_id,
        "sent_at": letter.sent_at,
        "died_at": letter.died_at,
    }


def _arguments(letter: DeadLetter, *, texts: bool) -> dict[str, Any]:
    named = {str(number): value for number, value in enumerate(letter.task.args)}
    named.update(letter.task.kwargs)
    return named if texts else without_texts(named)
