"""A task runs under a lease, and its message is acknowledged only when its row is settled."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from dramatiq import Message
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import SkipMessage

from middleware.execution import Execution, NotNow, current_lease
from middleware.leases import LeaseKeeper
from middleware.quarantine import STARTS
from middleware.run_state import run_state
from mirt.errors import DatabaseError, ErrorCode
from mirt.store.engine.database import Database
from mirt.store.queue.tasks import TaskState
from tests.clock import FakeClock
from tests.unit.store.rows import add_row, after, row


@dataclass
class Settlement:
    """Settles nothing: it notes the errors, or fails."""

    errors: list[BaseException | None]
    failure: Exception | None = None

    def settle(
        self, _broker: object, _message: object, _lease: object, error: BaseException | None
    ) -> None:
        if self.failure is not None:
            raise self.failure
        self.errors.append(error)


@dataclass
class Runs:
    execution: Execution
    keeper: LeaseKeeper
    settlement: Settlement
    broker: StubBroker

    def message(self) -> Message[Any]:
        return Message("default", "ping", (), {}, {"trace_id": "trace"}, message_id="t1")

    def begin(self, message: Message[Any]) -> None:
        self.execution.before_process_message(self.broker, message)


@pytest.fixture
def runs(database: Database) -> Iterator[Runs]:
    clock, settlement = FakeClock(), Settlement([])
    keeper = LeaseKeeper(database, clock, owner="me", lease=timedelta(hours=1))
    execution = Execution(database, clock, keeper, settlement)  # type: ignore[arg-type]
    yield Runs(execution, keeper, settlement, StubBroker())
    execution.close()


def test_a_lease_is_renewed_from_the_start_of_the_run_to_its_end(runs: Runs) -> None:
    message = runs.message()
    runs.begin(message)
    assert runs.keeper.held == [current_lease()]
    runs.execution.after_process_message(runs.broker, message)
    assert (runs.keeper.held, runs.settlement.errors) == ([], [None])
    with pytest.raises(LookupError):
        current_lease()


def test_a_copy_of_a_running_task_is_skipped_and_changes_nothing(
    runs: Runs, database: Database
) -> None:
    runs.begin(runs.message())
    before = row(database)
    copy = runs.message()
    with pytest.raises(SkipMessage):
        runs.begin(copy)
    assert row(database) == before
    assert not run_state(copy).give_back


def test_a_message_that_meets_a_stopping_worker_goes_back(runs: Runs, database: Database) -> None:
    add_row(database, TaskState.QUEUED, due_at=after(10))
    runs.execution.before_worker_shutdown(runs.broker, None)
    message = runs.message()
    with pytest.raises(NotNow):
        runs.begin(message)
    assert run_state(message).give_back
    assert row(database).state == "queued"


@pytest.mark.parametrize("failure", [DatabaseError("away"), ZeroDivisionError()])
def test_a_run_that_cannot_be_settled_is_not_acknowledged(runs: Runs, failure: Exception) -> None:
    message = runs.message()
    runs.begin(message)
    runs.settlement.failure = failure
    runs.execution.after_process_message(runs.broker, message, exception=OSError())
    assert run_state(message).give_back
    assert runs.keeper.held == []


@pytest.mark.parametrize(
    "fatal", [{"starts": STARTS}, {"error_code": ErrorCode.TIME_LIMIT}], ids=["killer", "limit"]
)
def test_a_task_that_must_not_start_again_is_settled_without_a_run(
    runs: Runs, database: Database, fatal: dict[str, Any]
) -> None:
    add_row(database, TaskState.QUEUED, due_at=after(10), **fatal)
    message = runs.message()
    with pytest.raises(SkipMessage):
        runs.begin(message)
    [error] = runs.settlement.errors
    assert error is not None
    assert (runs.keeper.held, run_state(message).give_back) == ([], False)


def test_a_quarantine_that_cannot_be_written_is_not_acknowledged(
    runs: Runs, database: Database
) -> None:
    add_row(database, TaskState.QUEUED, due_at=after(10), starts=STARTS)
    runs.settlement.failure = DatabaseError("away")
    message = runs.message()
    with pytest.raises(SkipMessage):
        runs.begin(message)
    assert run_state(message).give_back
    assert runs.keeper.held == []
