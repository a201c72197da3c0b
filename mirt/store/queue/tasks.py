"""The states and the content of a task, as its row has them.

A message in the broker is a wake-up call; the row decides. So copies of a message are harmless: the
first worker claims the row, the others find it claimed. A lost message costs time: the ``due_at``
of the row passes, and the outbox publishes the task again. A delay is a ``due_at`` in the future.

    (none) ──claim──► running ──finish────► done
       │               ▲   │ └──mark_dead─► dead
      add              │   ├postpone, hold► delayed ──┐
       ▼               │   └─give_back─┐              │
     queued ──claim────┘               │              │
       ▲───────────────────────────────┴───take_due───┘   (which also takes a running task
                                                           whose lease has run out)

A held task is a delayed one that waits for the end of an outage (``mirt.store.queue.holds``) or of
a pause (``mirt.store.queue.pauses``).

Rarer moves: ``claim`` of a delayed task that is due, ``take_retry`` and ``take_probe`` (delayed →
queued), ``hold_paused`` ((none), queued, due → delayed), ``bury_unbegun`` ((none), queued → dead),
``revive`` (dead → queued), ``remove_waiting`` (queued, delayed → dead), ``cancel_waiting`` (queued,
delayed → done), ``cancel`` (running → done) and ``forget`` (running → (none)).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class TaskState(StrEnum):
    """The states of a task; the diagram above has the moves between them."""

    QUEUED = "queued"
    RUNNING = "running"
    DELAYED = "delayed"
    DONE = "done"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class TaskMessage:
    """The content of a task. Its row is committed before it is published, or made by ``claim``."""

    task_id: str
    actor: str
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """The end of a task: its result, and the tasks to publish after it.

    A ``parked`` task has no result yet: its mail waits in the mailbox. A ``finished`` one is done
    already, in the transaction of its last step.
    """

    result: dict[str, Any] | None
    to_publish: Sequence[TaskMessage] = ()
    parked: bool = False
    finished: bool = False


def envelope(task: TaskMessage) -> dict[str, Any]:
    """Return the columns of a row that hold the content of the task."""
    return {
        "id": task.task_id,
        "actor": task.actor,
        "args": list(task.args),
        "kwargs": dict(task.kwargs),
        "options": dict(task.options),
        "trace_id": _text(task.options.get("trace_id")),
        "session_id": session_of(task),
    }


def session_of(task: TaskMessage) -> str | None:
    """Return the conversation of a task: its option or else its argument ``session_id``."""
    return _text(task.options.get("session_id") or task.kwargs.get("session_id"))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
