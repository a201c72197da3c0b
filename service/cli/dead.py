"""``mirt dead``: lists, shows, replays and discards dead letters."""

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Any

import typer

from mirt.store.queue.dead_letters import DeadLetter, DeadLetterFilter
from service.admin import audit, dead_letters
from service.admin.redaction import without_texts
from service.cli.context import CommandContext, full_access, read_only, read_texts
from service.cli.dead_letter_filter import (
    All,
    Argument,
    Cause,
    Code,
    Conversation,
    Ids,
    Queue,
    Since,
    Task,
    has_criteria,
    read_filter,
)
from service.cli.errors import misused, not_found
from service.cli.options import Yes, confirm
from service.cli.output import AsJson, Column, Row, emit, moment, quote, say, table

dead = typer.Typer(
    help="Tasks that failed for good, with their errors: run them again, or delete them.",
    no_args_is_help=True,
    add_completion=False,
)

Limit = Annotated[int, typer.Option(min=1, max=10_000, help="Show this many, the latest first.")]
Grouped = Annotated[
    bool, typer.Option("--group", help="Count them by code, task and cause, the largest first.")
]
Arguments = Annotated[
    str | None,
    typer.Option(help="Other arguments for the one task, as a JSON object with all of them."),
]
Texts = Annotated[bool, typer.Option("--texts", help="Show the texts of customers, too.")]


@dead.command("list")
def list_(
    ids: Ids = None,
    *,
    queue: Queue = None,
    task: Task = None,
    code: Code = None,
    since: Since = None,
    conversation: Conversation = None,
    cause: Cause = None,
    argument: Argument = None,
    group: Grouped = False,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List the dead letters that match all options, the latest first."""
    which = read_filter(
        ids,
        queue=queue,
        task=task,
        code=code,
        since=since,
        conversation=conversation,
        cause=cause,
        argument=argument,
    )
    if group:
        _list_groups(which, limit=limit, as_json=as_json)
        return
    with read_only() as context:
        found = dead_letters.find(context, which, limit=limit)
    if as_json:
        emit({"total": found.total, "letters": [_document(one) for one in found.rows]})
        return
    _table(found.rows)
    if found.total > len(found.rows):
        say(f"{len(found.rows)} of {found.total}; --limit shows more")


def _list_groups(which: DeadLetterFilter, *, limit: int, as_json: bool) -> None:
    with read_only() as context:
        groups = dead_letters.groups(context, which, limit=limit)
    if as_json:
        emit({"groups": groups})
        return
    columns = (
        Column("COUNT", "right"),
        Column("CODE", style="red"),
        Column("TASK", spare=1),
        Column("FIRST (UTC)", spare=3),
        Column("LAST (UTC)", spare=2),
        Column("CAUSE", cut_to=24),
    )
    rows: list[Row] = [
        (
            (
                one.count,
                one.error_code,
                one.actor or "(unread)",
                moment(one.first_at),
                moment(one.last_at),
                one.cause or "-",
            ),
            None,
        )
        for one in groups
    ]
    table(columns, rows, empty="no dead letter")
    for one in [one for one in groups if one.cause][:3]:
        say(f"mirt dead replay --code {one.error_code} --cause {shlex.quote(one.cause)}")


def _table(found: Sequence[DeadLetter]) -> None:
    columns = (
        Column("DIED (UTC)", spare=2),
        Column("TASK", spare=1),
        Column("CODE", style="red"),
        Column("ATTEMPTS", "right", spare=4),
        Column("CONVERSATION", spare=3),
        Column("ID", style="dim"),
        Column("WHY", cut_to=24),
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
                " ".join(one.exception.split()),
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
    """Show a dead letter: arguments, error, traceback, times."""
    with read_texts(texts=texts) as context:
        dead_letter = dead_letters.show(context, task_id)
        if dead_letter is None:
            raise not_found("ID", f"no dead letter of a task {task_id}; mirt dead list")
        if texts:
            audit.record_texts_shown(context, task_id, session_id=dead_letter.session_id)
    arguments = _arguments(dead_letter, texts=texts)
    if as_json:
        emit({**_document(dead_letter), "arguments": arguments, "traceback": dead_letter.traceback})
        return
    for name, value in {
        "task": dead_letter.task.actor or "(unread)",
        "id": dead_letter.task.task_id,
        "queue": dead_letter.queue,
        "code": dead_letter.error_code,
        "why": dead_letter.exception,
        "attempts": str(dead_letter.attempts),
        "sent": moment(dead_letter.sent_at),
        "died": moment(dead_letter.died_at),
        "conversation": dead_letter.session_id or "-",
        "trace": dead_letter.trace_id or "-",
        "arguments": json.dumps(arguments, ensure_ascii=False),
    }.items():
        say(f"{name:<14}{value}", style="red" if name == "code" else None)
    if dead_letter.traceback:
        say("")
        quote("│ ", dead_letter.traceback.rstrip())
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
    cause: Cause = None,
    argument: Argument = None,
    arguments: Arguments = None,
    everything: All = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Run dead letters again, each exactly once, with their traces.

    With --arguments one task runs again with other arguments than it was sent with.
    """
    if arguments is not None:
        _replay_with(ids or [], arguments, as_json=as_json)
        return
    which = _chosen(
        ids,
        everything=everything,
        queue=queue,
        task=task,
        code=code,
        since=since,
        conversation=conversation,
        cause=cause,
        argument=argument,
    )
    _confirm_and_act(
        which, "Run", "again", dead_letters.replay, "replayed", yes=yes, as_json=as_json
    )


@dead.command()
def discard(
    ids: Ids = None,
    *,
    queue: Queue = None,
    task: Task = None,
    code: Code = None,
    since: Since = None,
    conversation: Conversation = None,
    cause: Cause = None,
    argument: Argument = None,
    everything: All = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Delete dead letters for good; their tasks will not run."""
    which = _chosen(
        ids,
        everything=everything,
        queue=queue,
        task=task,
        code=code,
        since=since,
        conversation=conversation,
        cause=cause,
        argument=argument,
    )
    _confirm_and_act(
        which, "Delete", "for good", dead_letters.discard, "discarded", yes=yes, as_json=as_json
    )


def _replay_with(ids: list[str], arguments: str, *, as_json: bool) -> None:
    from service.admin.edited_replays import read_arguments, replay_with

    if len(ids) != 1:
        raise misused("--arguments", "name the one task that is replayed with them")
    [task_id] = ids
    with full_access() as context:
        found = dead_letters.show(context, task_id)
        is_replayed = found is not None and replay_with(
            context, task_id, read_arguments(found.task.actor, arguments)
        )
    if not is_replayed:
        raise not_found("ID", f"no dead letter of a task {task_id}; mirt dead list")
    if as_json:
        emit({"counted": 1, "replayed": 1})
        return
    say("1 replayed, with other arguments")


def _chosen(ids: list[str] | None, *, everything: bool, **options: str | None) -> DeadLetterFilter:
    """Return the filter of a replay or discard; ``--all`` or a criterion is required, not both."""
    which = read_filter(ids, **options)
    if has_criteria(which) == everything:
        problem = "not together with --all" if everything else "say which, or --all"
        raise misused("ID", problem)
    return which


def _confirm_and_act(
    which: DeadLetterFilter,
    verb: str,
    how: str,
    act: Callable[[CommandContext, DeadLetterFilter], int],
    done: str,
    *,
    yes: bool,
    as_json: bool,
) -> None:
    """Count, ask, and act on the counted dead letters only; later ones are left alone.

    Raises:
        CommandError: nothing matches, an id has no dead letter, or the operator says no.
    """
    with read_only() as context:
        which = replace(which, until=context.clock())
        found = dead_letters.find(context, which, limit=len(which.task_ids or ()) or 1)
    if which.task_ids:
        known = {one.task.task_id for one in found.rows}
        if missing := [one for one in which.task_ids if one not in known]:
            raise not_found("ID", f"no dead letter matches {', '.join(missing)}; nothing was done")
    if not found.total:
        raise not_found("ID", "no dead letter matches")
    if found.total > 1:
        confirm(f"{verb} {found.total} dead letters {how}?", yes=yes)
    with full_access() as context:
        count = act(context, which)
    if as_json:
        emit({"counted": found.total, done: count})
        return
    left = found.total - count
    say(f"{count} {done}" + (f"; {left} left: this version does not know them" if left else ""))


def _document(dead_letter: DeadLetter) -> dict[str, Any]:
    return {
        "task_id": dead_letter.task.task_id,
        "task": dead_letter.task.actor,
        "queue": dead_letter.queue,
        "code": dead_letter.error_code,
        "why": dead_letter.exception,
        "attempts": dead_letter.attempts,
        "session_id": dead_letter.session_id,
        "trace_id": dead_letter.trace_id,
        "sent_at": dead_letter.sent_at,
        "died_at": dead_letter.died_at,
    }


def _arguments(dead_letter: DeadLetter, *, texts: bool) -> dict[str, Any]:
    named = {str(number): value for number, value in enumerate(dead_letter.task.args)}
    named.update(dead_letter.task.kwargs)
    return named if texts else without_texts(named)
