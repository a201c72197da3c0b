"""Find conversations: those that wait the longest, with the reason, and a searchable list."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mirt.clock import format_duration
from mirt.store.queue.events import EventKind, TaskEvent, events_of
from mirt.store.queue.pauses import paused_subject
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
    """A conversation whose customer waits. ``why`` is a sentence; ``command`` shows more."""

    session_id: str
    customer_name: str | None
    messages: int
    since: datetime
    waited_s: float
    task_id: str
    task: str | None
    state: str | None
    attempt: int
    """Attempt number, starting at 1."""
    worker_id: str | None
    why: str
    last_error: str | None
    command: str


def waiting(context: AdminContext, *, limit: int) -> list[WaitingView]:
    """Return the conversations that have waited the longest, with two queries.

    Raises:
        DatabaseError: the database cannot be read.
    """
    now = context.clock()
    with context.database.transaction() as tx:
        longest = search.waiting_longest(tx, limit=limit)
        events = events_of(tx, [one.task_id for one in longest])
    return [_view(one, [e for e in events if e.task_id == one.task_id], now) for one in longest]


def _view(
    conversation: WaitingConversation, events: Sequence[TaskEvent], now: datetime
) -> WaitingView:
    failed = [event for event in events if event.kind is EventKind.RETRIED]
    last = failed[-1] if failed else None
    return WaitingView(
        session_id=conversation.session_id,
        customer_name=conversation.customer_name,
        messages=conversation.messages,
        since=conversation.since,
        waited_s=max(0.0, (now - conversation.since).total_seconds()),
        task_id=conversation.task_id,
        task=conversation.actor,
        state=conversation.state,
        attempt=(conversation.attempt or 0) + 1,
        worker_id=conversation.owner,
        why=_why(conversation, last, now),
        last_error=None if last is None else f"{last.code}: {last.why}",
        command=f"mirt trace {conversation.session_id}",
    )


def _why(conversation: WaitingConversation, last: TaskEvent | None, now: datetime) -> str:
    if conversation.state == TaskState.RUNNING and conversation.started_at is not None:
        running_s = (now - conversation.started_at).total_seconds()
        return f"it has been running for {format_duration(running_s)}"
    if conversation.state == TaskState.DELAYED and conversation.held_by is not None:
        if (subject := paused_subject(conversation.held_by)) is not None:
            return f"{subject} is paused"
        since = conversation.held_since or now
        held = format_duration((now - since).total_seconds())
        return f"an outage of {conversation.held_by} has held it for {held}"
    if conversation.state == TaskState.DELAYED and conversation.due_at is not None:
        pause = format_duration((conversation.due_at - now).total_seconds())
        if last is None:
            return f"it waits {pause} more for the customer to finish writing"
        asked = last.code == "RateLimitError"
        reason = "because the other side asked for it (429)" if asked else "after a failure"
        return f"it retries in {pause}, {reason}"
    if conversation.state == TaskState.QUEUED:
        return "no worker has started it" + ("" if conversation.fence == 0 else " again")
    return "it has no task: the next sweep makes one"


def find(
    context: AdminContext,
    *,
    text: str = "",
    kind: Kind = Kind.ALL,
    after: Cursor | None = None,
    limit: int,
) -> list[Conversation]:
    """Return the conversations that match, the latest message first, with one query.

    Raises:
        DatabaseError: the database cannot be read.
    """
    with context.database.transaction() as tx:
        return conversations_found(tx, text=text, kind=kind, after=after, limit=limit)
