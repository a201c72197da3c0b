"""Limit how long a conversation stays with people who do nothing (HANDOVER_MINUTES)."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from mirt.observe import traces
from mirt.store.queue import outbox
from mirt.store.queue.tasks import TaskMessage
from mirt.task_names import TaskName


@dataclass(frozen=True, slots=True)
class Attendance:
    """The minutes without an act of a person after which a conversation goes back; 0: never."""

    minutes: float = 0

    def until(self, now: datetime) -> datetime | None:
        """Return when a conversation goes back if no person does anything from now on."""
        return now + timedelta(minutes=self.minutes) if self.minutes else None

    def watch(self, tx: Connection, session_id: str, since: datetime, *, now: datetime) -> None:
        """Queue the task that looks at the handover which began at ``since``, when time is over."""
        self.watch_until(tx, session_id, since, self.until(now), now=now)

    def watch_until(
        self,
        tx: Connection,
        session_id: str,
        since: datetime,
        until: datetime | None,
        *,
        now: datetime,
    ) -> None:
        """Do as ``watch`` does, at this time; at no time, nothing."""
        if until is None:
            return
        began = since.isoformat()
        task = TaskMessage(
            task_id=f"handover:{session_id}:{began}:{until.isoformat()}",
            actor=TaskName.END_HANDOVER,
            kwargs={"session_id": session_id, "since": began},
            options=traces.new_options(TaskName.END_HANDOVER),
        )
        outbox.add(tx, task, now=now, due_at=until)


NO_LIMIT: Final = Attendance()
