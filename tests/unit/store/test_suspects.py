"""A suspect is a task with unfinished starts that no worker holds."""

from typing import Any

import pytest

from mirt.store.engine.database import Database
from mirt.store.queue.suspects import find_suspects, read_task
from mirt.store.queue.tasks import TaskState
from tests.unit.store.rows import TASK, add_row, after, claimed

FREE: dict[str, Any] = {"starts": 2, "due_at": after(5)}


def found(database: Database, *, at: float = 10, limit: int = 9, without: str = "") -> list[str]:
    with database.transaction() as tx:
        tasks = find_suspects(tx, ["ping"], starts=2, without=[without], now=after(at), limit=limit)
    return [task.task_id for task in tasks]


@pytest.mark.parametrize("state", [TaskState.QUEUED, TaskState.RUNNING])
def test_a_task_that_was_lost_twice_is_one(database: Database, state: TaskState) -> None:
    add_row(database, state, **FREE)
    assert found(database) == ["t1"]


@pytest.mark.parametrize(
    "other",
    [
        {"starts": 1},
        {"starts": 3},
        {"error_code": "TIME_LIMIT"},
        {"actor": "send_response"},
        {"state": TaskState.DELAYED},
        {"state": TaskState.RUNNING, "due_at": after(15)},
        {"state": TaskState.DONE, "due_at": None},
    ],
)
def test_any_other_task_is_none(database: Database, other: dict[str, Any]) -> None:
    add_row(database, **{"state": TaskState.QUEUED, **FREE, **other})
    assert found(database) == []


def test_the_first_due_come_first_and_those_that_run_already_are_left_out(
    database: Database,
) -> None:
    for number in (3, 1, 2):
        due_at = after(number)
        add_row(database, TaskState.QUEUED, task_id=f"t{number}", starts=2, due_at=due_at)
    assert found(database) == ["t1", "t2", "t3"]
    assert found(database, without="t1", limit=1) == ["t2"]


def test_the_content_of_a_task_is_read_by_its_id(database: Database) -> None:
    assert claimed(database) is not None
    with database.transaction() as tx:
        task = read_task(tx, TASK.task_id)
        assert task is not None
        assert (task.task_id, task.actor, task.kwargs) == (TASK.task_id, TASK.actor, TASK.kwargs)
        assert read_task(tx, "another") is None
