"""The end of a run is written as the class of its error demands, in one transaction."""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from dramatiq import Message, MessageProxy
from sqlalchemy import Connection

from middleware import holds as middleware_holds
from middleware.holds import Holds
from middleware.retries import Patience
from middleware.run_state import run_state
from middleware.settlement import Settlement
from mirt import service_calls
from mirt.errors import (
    DatabaseError,
    ExternalServiceError,
    LeaseLostError,
    OutageError,
    OutcomeUnknownError,
    PermanentError,
    RateLimitError,
    RetryableError,
)
from mirt.store.engine.database import Database
from mirt.store.queue import holds
from mirt.store.queue.holds import Outage
from mirt.store.queue.leases import Lease
from mirt.store.queue.tasks import TaskMessage
from mirt.store.tables import dead_letters, task_events
from tests.clock import FakeClock
from tests.unit.business import rows
from tests.unit.store.rows import after, held, row

TASK = "send_response"
APOLOGY = TaskMessage("apology", TASK)


@dataclass
class Business:
    """A failure handler that owes the customer an apology; it may have stored its work."""

    failed_ids: list[str] = field(default_factory=list)
    error: Exception | None = None

    def failed(self, _tx: Connection, task_id: str) -> list[TaskMessage]:
        self.failed_ids.append(task_id)
        if self.error is not None:
            raise self.error
        return [APOLOGY]

    def may_continue(self, _tx: Connection, _task_id: str) -> bool:
        return False


@dataclass
class Broker:
    failure_handlers: dict[str, Business] = field(default_factory=dict)
    open_holds: tuple[str, ...] = ()
    published: list[TaskMessage] = field(default_factory=list)

    def publish(self, tasks: list[TaskMessage]) -> int:
        self.published += tasks
        return len(tasks)


@dataclass
class Runs:
    """Runs of one task that end with an error."""

    database: Database
    clock: FakeClock
    settlement: Settlement
    broker: Broker

    def end(self, error: BaseException | None, lease: Lease | None = None) -> MessageProxy:
        """End a run of the task; return its message."""
        message = MessageProxy(Message("webhooks", TASK, (), {}, {}, message_id="t1"))
        lease = lease or held(self.database, at=(self.clock() - after(0)).total_seconds())
        self.settlement.settle(self.broker, message, lease, error)  # type: ignore[arg-type]
        return message


@pytest.fixture
def runs(database: Database) -> Runs:
    clock = FakeClock()
    settlement = Settlement(
        database, clock, patience=Patience(3600), base_s=4, jitter=lambda longest: longest
    )
    return Runs(database, clock, settlement, Broker({TASK: Business()}))


def opened(database: Database, service: str = "llm", *, at: float = 0) -> None:
    with database.transaction() as tx:
        holds.open_hold(tx, Outage(service, "503", ""), failed_at=after(at), now=after(at))


def ended(database: Database, service: str = "llm", *, at: float) -> None:
    with database.transaction() as tx:
        holds.release(tx, service, now=after(at))


def test_a_run_without_an_error_is_done(runs: Runs) -> None:
    runs.end(None)
    assert (row(runs.database).state, row(runs.database).due_at) == ("done", None)


def test_a_retry_waits_for_its_pause_and_is_the_next_attempt(runs: Runs) -> None:
    runs.end(RetryableError("for now"))
    found = row(runs.database)
    assert (found.state, found.due_at, found.attempt) == ("delayed", after(4), 1)
    assert runs.broker.published == []


def test_the_waits_that_were_asked_for_are_summed_up(runs: Runs) -> None:
    for waited_s in (11, 23):
        runs.end(RateLimitError("wait", 10))
        found = row(runs.database)
        assert (found.attempt, found.waited_s) == (0, waited_s)
        runs.clock.now = found.due_at


def test_a_final_failure_is_a_dead_letter_and_no_reject_and_its_apology_is_published(
    runs: Runs,
) -> None:
    message = runs.end(PermanentError("never", "INVALID_INPUT"))
    [dead] = rows(runs.database, dead_letters)
    assert (dead.error_code, row(runs.database).state) == ("INVALID_INPUT", "dead")
    assert run_state(message).buried
    assert message.failed
    business = runs.broker.failure_handlers[TASK]
    assert (business.failed_ids, runs.broker.published) == (["t1"], [APOLOGY])


def test_a_final_failure_is_written_whole_or_not_at_all(runs: Runs) -> None:
    runs.broker.failure_handlers[TASK].error = DatabaseError("away")
    with pytest.raises(DatabaseError):
        runs.end(PermanentError("never", "INVALID_INPUT"))
    assert rows(runs.database, dead_letters) == []
    assert (row(runs.database).state, runs.broker.published) == ("running", [])


@pytest.mark.parametrize(
    "error", [None, RetryableError(""), PermanentError(""), LeaseLostError("")]
)
def test_a_run_that_lost_its_lease_writes_nothing(runs: Runs, error: BaseException | None) -> None:
    lost = held(runs.database)
    held(runs.database, "two", at=10)
    before = row(runs.database)
    with suppress(LeaseLostError):
        runs.end(error, lost)
    assert row(runs.database) == before
    assert rows(runs.database, dead_letters) == rows(runs.database, task_events) == []


# Outages


def test_an_outage_holds_its_task_and_is_no_attempt(runs: Runs) -> None:
    runs.end(OutageError("llm", "is down"))
    found = row(runs.database)
    assert (found.state, found.held_by, found.attempt) == ("delayed", "llm", 0)
    assert found.due_at == after(3600)


def test_a_failure_while_its_service_is_held_waits_too(runs: Runs) -> None:
    opened(runs.database)
    runs.end(ExternalServiceError("llm", "answered 500"))
    found = row(runs.database)
    assert (found.held_by, found.attempt) == ("llm", 0)


@pytest.mark.parametrize(
    "error",
    [OutcomeUnknownError("llm", "was sent"), ExternalServiceError("crm", "answered 500")],
)
def test_an_unknown_outcome_or_another_service_stays_an_attempt(
    runs: Runs, error: Exception
) -> None:
    opened(runs.database)
    runs.end(error)
    found = row(runs.database)
    assert (found.held_by, found.attempt, found.due_at) == (None, 1, after(4))


def test_an_outage_that_another_task_has_seen_end_is_forgotten_and_tried_again(
    runs: Runs,
) -> None:
    opened(runs.database)
    ended(runs.database, at=5)
    runs.clock.advance(seconds=6)
    forgotten: list[bool] = []
    error = OutageError("llm", "down", failed_s_ago=3, forget=lambda: forgotten.append(True))
    runs.end(error)
    found = row(runs.database)
    assert (found.held_by, found.state, forgotten) == (None, "delayed", [True])
    assert found.due_at <= after(6 + 2)


@pytest.mark.parametrize("exception", [None, PermanentError("its own fault")])
@pytest.mark.parametrize("is_known", [True, False])
def test_the_answer_to_a_probe_ends_the_hold_however_its_run_ends(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, exception: Exception | None, is_known: bool
) -> None:
    opened(runs.database)
    probe = Lease("t1", "one", fence=1, held_by="llm")
    monkeypatch.setattr(middleware_holds, "current_lease", lambda: probe)
    runs.broker.open_holds = ("llm",) if is_known else ()
    notes = Holds(runs.database, runs.clock)
    message: Message[Any] = Message("webhooks", TASK, (), {}, {})
    notes.before_process_message(runs.broker, message)
    service_calls.current().answered.add("llm")
    notes.after_process_message(runs.broker, message, exception=exception)
    with runs.database.transaction() as tx:
        assert holds.open_holds(tx) == []


def test_a_run_without_an_answer_ends_no_hold(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(runs.database)
    monkeypatch.setattr(middleware_holds, "current_lease", lambda: Lease("t1", "one", 1))
    notes = Holds(runs.database, runs.clock)
    message: Message[Any] = Message("webhooks", TASK, (), {}, {})
    notes.before_process_message(runs.broker, message)
    service_calls.current().answered.add("crm")
    notes.after_process_message(runs.broker, message)
    with runs.database.transaction() as tx:
        assert [hold.service for hold in holds.open_holds(tx)] == ["llm"]
