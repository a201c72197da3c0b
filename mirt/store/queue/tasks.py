"""A task's row: what a message in the broker is about.

The message is a wake-up call, the row is the truth.

So copies of a message are harmless (the first to claim the row runs it, the others find it taken),
a lost message costs time (its ``due_at`` passes and the outbox publishes it again), and a delay is
a ``due_at`` in the future.

    (none) ──claim──► running ──finish──► done
       │               ▲   │ └──bury────► dead
      add              │   ├───postpone─► delayed ──┐
       ▼               │   └─give back─┐            │
     queued ──claim────┘               │            │
       ▲───────────────────────────────┴──take_due──┘   (which also takes a running task
                                                         whose lease has run out)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class TaskState(StrEnum):
    """Where a task is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    DELAYED = "delayed"
    DONE = "done"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class TaskMessage:
    """A task that is to be published. Its row is committed, or is made when it is claimed."""

    task_id: str
    actor: str
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """The end of a task: its result, and the tasks to publish after it.

    A ``parked`` task has no result yet: its mail waits in the mailbox.
    """

    result: dict[str, Any] | None
    to_publish: Sequence[TaskMessage] = ()
    parked: bool = False


def envelope(task: TaskMessage) -> dict[str, Any]:
    """The columns that say what is to be done, as they are sent."""
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
    """The conversation that a task is about: its option says so, or its argument of that name."""
    return _text(task.options.get("session_id") or task.kwargs.get("session_id"))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
