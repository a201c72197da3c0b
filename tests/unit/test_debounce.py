"""With a debounce a customer is answered when they have stopped writing."""

from datetime import datetime, timedelta

import pytest

from mirt.conversations import LONGEST_QUIET, Conversations
from mirt.store.engine.database import Database
from mirt.store.queue import leases, outbox
from mirt.store.queue.tasks import TaskMessage
from mirt.store.shop import mailbox
from mirt.store.shop.mailbox import MailState
from mirt.store.tables import tasks
from tests.clock import NOON, FakeClock
from tests.unit.business import conversations_of, mail, rows

QUIET_S = 5


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def patient(database: Database, clock: FakeClock) -> Conversations:
    """Conversations that wait for five seconds of quiet."""
    return conversations_of(database, clock, debounce_s=QUIET_S)


def due_at(database: Database, task_id: str = "t1") -> datetime | None:
    due: dict[str, datetime | None] = {row.id: row.due_at for row in rows(database, tasks)}
    return due[task_id]


def seconds(number: float) -> datetime:
    return NOON + timedelta(seconds=number)


def answered(
    database: Database, patient: Conversations, head: str, clock: FakeClock
) -> TaskMessage | None:
    with database.transaction() as tx:
        state = MailState.ANSWERED
        mailbox.settle(tx, turn_id=head, task_id=head, state=state, now=clock())
        return patient.promote_next(tx, "s", after=head, now=clock())


def test_with_a_debounce_the_head_waits_for_quiet(
    database: Database, patient: Conversations
) -> None:
    assert patient.accept(mail("t1")).publication is None
    [row] = rows(database, tasks)
    assert (row.state, row.due_at) == ("delayed", seconds(QUIET_S))


def test_each_further_message_puts_the_answer_off(
    database: Database, patient: Conversations, clock: FakeClock
) -> None:
    patient.accept(mail("t1"))
    clock.advance(seconds=3)
    patient.accept(mail("t2"))
    assert due_at(database) == seconds(3 + QUIET_S)


def test_the_answer_is_put_off_to_four_times_the_quiet_at_most(
    database: Database, patient: Conversations, clock: FakeClock
) -> None:
    for number in range(10):
        patient.accept(mail(f"t{number}"))
        clock.advance(seconds=3)
    assert due_at(database, "t0") == seconds(QUIET_S * LONGEST_QUIET)
    assert LONGEST_QUIET == 4


def test_a_second_copy_puts_nothing_off(
    database: Database, patient: Conversations, clock: FakeClock
) -> None:
    patient.accept(mail("t1"))
    clock.advance(seconds=3)
    patient.accept(mail("t1"))
    assert due_at(database) == seconds(QUIET_S)


def test_a_turn_that_has_begun_is_not_put_off(
    database: Database, patient: Conversations, clock: FakeClock
) -> None:
    patient.accept(mail("t1"))
    clock.advance(seconds=QUIET_S)
    with database.transaction() as tx:
        outbox.take_due(tx, now=clock(), limit=1)
        task = TaskMessage("t1", "process_and_respond")
        leases.claim(tx, task, owner="one", now=clock(), duration=timedelta(seconds=10))
    before = due_at(database)
    clock.advance(seconds=1)
    assert patient.accept(mail("t2")).publication is None
    assert due_at(database) == before


def test_the_next_turn_waits_for_the_rest_of_the_quiet_since_the_last_message(
    database: Database, patient: Conversations, clock: FakeClock
) -> None:
    for task_id in ("t1", "t2", "t3"):
        patient.accept(mail(task_id))
        clock.advance(seconds=2)
    assert answered(database, patient, "t1", clock) is None
    assert due_at(database, "t2") == seconds(4 + QUIET_S)


def test_the_next_turn_begins_at_once_when_it_has_been_quiet_long_enough(
    database: Database, patient: Conversations, clock: FakeClock
) -> None:
    patient.accept(mail("t1"))
    patient.accept(mail("t2"))
    clock.advance(seconds=60)
    published = answered(database, patient, "t1", clock)
    assert published is not None
    assert published.task_id == "t2"


def test_the_next_turn_too_waits_four_times_the_quiet_at_most(
    database: Database, patient: Conversations, clock: FakeClock
) -> None:
    patient.accept(mail("t1"))
    for number in range(2, 9):
        patient.accept(mail(f"t{number}"))
        clock.advance(seconds=3)
    published = answered(database, patient, "t1", clock)
    assert published is not None
    assert published.task_id == "t2"
