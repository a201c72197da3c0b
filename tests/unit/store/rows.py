"""Rows of tasks: where they start from, and what has become of them."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from mirt.store.engine.database import Database
from mirt.store.queue.leases import (
    Claim,
    bury,
    claim,
    finish,
    forget,
    give_back,
    hold,
    postpone,
)
from mirt.store.queue.tasks import Publication, TaskState
from mirt.store.tables import tasks
from tests.unit.business import NOON

LEASE = timedelta(seconds=10)
TASK = Publication("t1", "ping", kwargs={"a": 1}, options={"trace_id": "trace"})


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


Ending = Callable[[Connection, Claim], None]
ENDINGS: dict[str, Ending] = {
    "finish": lambda tx, claim: finish(tx, claim, now=after(5)),
    "bury": lambda tx, claim: bury(tx, claim, error_code="UNEXPECTED", now=after(5)),
    "postpone": lambda tx, claim: postpone(tx, claim, due_at=after(60), attempt=1),
    "give_back": lambda tx, claim: give_back(tx, claim, now=after(5)),
    "forget": forget,
}
WRITES: dict[str, Ending] = {
    **ENDINGS,
    "hold": hold,
}


def row(database: Database, task_id: str = TASK.task_id) -> Row[Any]:
    with database.transaction() as tx:
        return tx.execute(select(tasks).where(tasks.c.id == task_id)).one()


def add_row(database: Database, state: TaskState, *, task_id: str = "t1", **values: Any) -> None:
    first = {"actor": "ping", "args": [], "kwargs": {}, "options": {}, "created_at": NOON}
    with database.transaction() as tx:
        tx.execute(insert(tasks).values(**{**first, "id": task_id, "state": state, **values}))


def claimed(
    database: Database, owner: str = "one", *, at: float = 0, task: Publication = TASK
) -> Claim | None:
    with database.transaction() as tx:
        return claim(tx, task, owner=owner, now=after(at), lease=LEASE)


def held(database: Database, owner: str = "one", *, at: float = 0, task_id: str = "t1") -> Claim:
    """The claim of who is sure to get it."""
    taken = claimed(database, owner, at=at, task=Publication(task_id, "ping"))
    assert taken is not None
    return taken


def write(database: Database, what: Ending, claim: Claim) -> None:
    with database.transaction() as tx:
        what(tx, claim)
