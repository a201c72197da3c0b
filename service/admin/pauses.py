"""Pause and resume queues, tasks, channels and conversations, for command line and page."""

from collections.abc import Collection, Mapping
from typing import Final

from middleware.policy import QUEUES, TASKS
from mirt.channels import CHANNELS
from mirt.errors import ErrorCode, PermanentError
from mirt.operators import current_operator
from mirt.store.queue import pauses as store
from mirt.store.queue.audit import record_act
from mirt.store.queue.pauses import Pause, PauseKind, Subject
from mirt.store.reports.search import conversation
from service.admin.context import AdminContext

_KNOWN: Final[Mapping[PauseKind, Collection[str]]] = {
    PauseKind.QUEUE: QUEUES,
    PauseKind.TASK: TASKS,
    PauseKind.CHANNEL: CHANNELS,
}


def read_subject(kind: str, name: str) -> Subject:
    """Return the subject of these words.

    Raises:
        PermanentError: INVALID_INPUT, there is no such kind, queue, task or channel.
    """
    if kind not in set(PauseKind):
        kinds = ", ".join(PauseKind)
        raise PermanentError(
            f"kind: there is no {kind}; there are {kinds}", ErrorCode.INVALID_INPUT
        )
    subject = Subject(PauseKind(kind), name)
    known = _KNOWN.get(subject.kind)
    if known is not None and name not in known:
        there_are = ", ".join(sorted(known))
        raise PermanentError(
            f"{kind}: there is no {name}; there are {there_are}", ErrorCode.INVALID_INPUT
        )
    if not name or "\0" in name:
        raise PermanentError(f"{kind}: must not be empty", ErrorCode.INVALID_INPUT)
    return subject


def pause(context: AdminContext, subject: Subject) -> bool:
    """Start nothing more of a subject; return False if it is paused already.

    Running tasks end. Webhooks are accepted, and their messages wait.

    Raises:
        PermanentError: INVALID_INPUT, there is no such conversation.
        DatabaseError: nothing was paused.
    """
    now = context.clock()
    session_id = subject.name if subject.kind is PauseKind.CONVERSATION else None
    with context.database.transaction() as tx:
        if session_id is not None and conversation(tx, session_id) is None:
            raise PermanentError(f"conversation: there is no {session_id}", ErrorCode.INVALID_INPUT)
        is_new = store.pause(tx, subject, operator=current_operator().name, now=now)
        if is_new:
            record_act(tx, "pause", target=str(subject), session_id=session_id, now=now)
    return is_new


def resume(context: AdminContext, subject: Subject) -> int | None:
    """Let the work of a subject go on, in its order; return the number of tasks that waited.

    None if the subject is not paused.

    Raises:
        DatabaseError: nothing was resumed.
    """
    now = context.clock()
    session_id = subject.name if subject.kind is PauseKind.CONVERSATION else None
    with context.database.transaction() as tx:
        count = store.resume(tx, subject, now=now)
        if count is not None:
            record_act(
                tx, "resume", target=str(subject), session_id=session_id, count=count, now=now
            )
    return count


def paused(context: AdminContext) -> list[Pause]:
    """Return all pauses, the oldest first.

    Raises:
        DatabaseError: the database cannot be read.
    """
    with context.database.transaction() as tx:
        return store.all_pauses(tx)
