"""Who has been waiting the longest, whose turn it is, and why it is not over."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mirt.runtime import Runtime
from mirt.store.queue.events import EventKind, TaskEvent, events_of
from mirt.store.queue.tasks import TaskState
from mirt.store.reports import search
from mirt.store.reports.search import (
    Conversation,
    Cursor,
    Kind,
    WaitingConversation,
    conversations_found,
)
from service.admin.context import AdminContext


@dataclass(frozen=True, slots=True)
class WaitingView:
    """A conversation in which somebody waits. ``why`` is a sentence; ``command`` shows more."""

    session_id: str
    customer_name: str | None
    messages: int
    since: datetime
    waited_s: float
    task_id: str
    task: str | None
    state: str | None
    attempt: int
    """The how manieth it is, from 1."""
    worker_id: str | None
    why: str
    last_error: str | None
    command: str


def waiting(context: AdminContext, *, limit: int) -> list[WaitingView]:
    """Those who have been waiting the longest: two queries.

    Raises:
        DatabaseError: it cannot be asked.
    """
    now = context.clock()
    with context.database.transaction() as tx:
        found = search.waiting_longest(tx, limit=limit)
        events = events_of(tx, [one.task_id for one in found])
    return [_view(one, [e for e in events if e.task_id == one.task_id], now) for one in found]


def _view(one: WaitingConversation, events: Sequence[TaskEvent], now: datetime) -> WaitingView:
    failed = [event for event in events if event.kind is EventKind.RETRIED]
    last = failed[-1] if failed else None
    return WaitingView(
        session_id=one.session_id,
        customer_name=one.customer_name,
        messages=one.messages,
        since=one.since,
        waited_s=max(0.0, (now - one.since).total_seconds()),
        task_id=one.task_id,
        task=one.actor,
        state=one.state,
        attempt=(one.attempt or 0) + 1,
        worker_id=one.owner,
        why=_why(one, last, now),
        last_error=None if last is None else f"{last.code}: {last.why}",
        command=f"mirt trace {one.session_id}",
    )


def _why(one: WaitingConversation, last: TaskEvent | None, now: datetime) -> str:
    if one.state == TaskState.RUNNING and one.started_at is not None:
        return f"it has been running for {(now - one.started_at).total_seconds():.0f} s"
    if one.state == TaskState.DELAYED and one.due_at is not None:
        in_s = max(0.0, (one.due_at - now).total_seconds())
        if last is None:
            return f"it waits for quiet, for {in_s:.0f} s more"
        pause = "as asked (429)" if last.code == "RateLimitError" else "after a failure"
        return f"it pauses {pause}, for {in_s:.0f} s more"
    if one.state == TaskState.QUEUED:
        return "no worker has taken it up" + ("" if one.fence == 0 else " again")
    return "it has no task: the next sweep gives it one"


def found(
    context: Runtime,
    *,
    text: str = "",
    kind: Kind = Kind.ALL,
    after: Cursor | None = None,
    limit: int,
) -> list[Conversation]:
    """Those that are meant, the latest message first: one query.

    Raises:
        DatabaseError: it cannot be asked.
    """
    with context.database.transaction() as tx:
        return conversations_found(tx, text=text, kind=kind, after=after, limit=limit)
