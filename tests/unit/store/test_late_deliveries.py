"""A worker that settles a part after another one began it changes nothing that is known since."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import Connection

from mirt.store.engine.database import Database
from mirt.store.shop import deliveries as store
from mirt.store.shop import turn_steps as steps
from mirt.store.shop.deliveries import Delivery
from tests.clock import NOON

FIRST = Delivery("d", "42", "telegram", "42", "Вітаю", "trace")
SECOND = replace(FIRST, parts_sent=1)
Late = Callable[[Connection, Delivery], None]
LATE: dict[str, Late] = {
    "not sent": lambda tx, part: store.part_not_sent(tx, part, error="late", unknown=True),
    "refused": lambda tx, part: store.part_refused(tx, part, error="late", now=NOON),
    "sent": lambda tx, part: store.part_sent(tx, part, last=False, chat_id="late", now=NOON),
}


def test_each_outcome_settles_the_part_that_was_begun(database: Database) -> None:
    assert found(database, LATE["not sent"], begun=FIRST).unknown == 1
    assert found(database, LATE["refused"], begun=FIRST).state == "failed"
    assert found(database, LATE["sent"], begun=FIRST).parts_sent == 1


@pytest.mark.parametrize("late", LATE.values(), ids=LATE)
def test_a_part_that_is_sent_stays_sent(database: Database, late: Late) -> None:
    with database.transaction() as tx:
        store.add_delivery(tx, FIRST, now=NOON)
        store.begin_part(tx, FIRST)
        store.part_sent(tx, FIRST, last=True, chat_id="42", now=NOON)
    now = found(database, late)
    assert (now.state, now.parts_sent, now.unknown, now.error) == ("sent", 1, 0, None)
    assert now.chat_id == "42"


@pytest.mark.parametrize("late", LATE.values(), ids=LATE)
def test_the_next_part_is_not_ended_by_who_was_at_the_one_before(
    database: Database, late: Late
) -> None:
    with database.transaction() as tx:
        store.add_delivery(tx, FIRST, now=NOON)
        store.begin_part(tx, FIRST)
        store.part_sent(tx, FIRST, last=False, chat_id="42", now=NOON)
        store.begin_part(tx, SECOND)
    now = found(database, late)
    assert (now.state, now.parts_sent, now.unknown) == ("sending", 1, 0)


def test_a_part_that_was_being_sent_when_its_task_died_is_counted_as_unknown(
    database: Database,
) -> None:
    def die(tx: Connection, part: Delivery) -> None:
        store.abandon_delivery(tx, part.id, now=NOON)

    assert found(database, die, begun=FIRST).unknown == 1


def test_a_part_that_is_counted_a_second_time_counts_once(database: Database) -> None:
    def sent_twice(tx: Connection, part: Delivery) -> None:
        for _ in range(2):
            steps.record_part_sent(tx, part, last=False, chat_id="42", now=NOON)

    assert found(database, sent_twice, begun=FIRST).parts_sent == 1


@pytest.mark.parametrize("late_end", [store.abandon_delivery, store.reopen_delivery])
def test_the_end_or_the_replay_of_its_task_changes_no_delivery_that_is_sent(
    database: Database, late_end: Callable[..., None]
) -> None:
    def sent_before(tx: Connection, part: Delivery) -> None:
        store.part_sent(tx, part, last=True, chat_id="42", now=NOON)
        values = {"now": NOON} if late_end is store.abandon_delivery else {}
        late_end(tx, part.id, **values)

    now = found(database, sent_before, begun=FIRST)
    assert (now.state, now.unknown) == ("sent", 0)


def found(database: Database, late: Late, *, begun: Delivery | None = None) -> Delivery:
    """Return the delivery after this outcome was stored for its first part."""
    with database.transaction() as tx:
        if begun is not None:
            store.reopen_delivery(tx, begun.id)
            store.add_delivery(tx, begun, now=NOON)
            store.begin_part(tx, begun)
        late(tx, FIRST)
        now = store.find_delivery(tx, FIRST.id)
    assert now is not None
    return now
