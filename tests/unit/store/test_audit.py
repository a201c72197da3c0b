"""The audit says who did what, and forgets a customer without forgetting the act."""

import pytest

from mirt.operators import Door, Operator, acting_as
from mirt.store.engine.database import Database
from mirt.store.queue.audit import FORGOTTEN, Outcome, acts, count_more, forget_in_audit, record_act
from tests.clock import NOON

OLENA = Operator("olena", Door.PAGE)


def test_an_act_is_kept_with_its_operator(database: Database) -> None:
    with acting_as(OLENA), database.transaction() as tx:
        record_act(tx, "purge", target="queue llm", count=3, now=NOON)
    with database.transaction() as tx:
        (act,) = acts(tx, limit=10)
    assert (act.operator, act.door, act.act, act.target) == ("olena", "page", "purge", "queue llm")
    assert (act.count, act.outcome, act.at) == (3, Outcome.DONE, NOON)


def test_an_act_that_is_rolled_back_is_not_in_the_audit(database: Database) -> None:
    def purge() -> None:
        with database.transaction() as tx:
            record_act(tx, "purge", now=NOON)
            raise LookupError

    with pytest.raises(LookupError):
        purge()
    with database.transaction() as tx:
        assert acts(tx, limit=10) == []


def test_an_act_outside_of_every_door_has_no_name(database: Database) -> None:
    with acting_as(OLENA):
        pass
    with database.transaction() as tx:
        record_act(tx, "replay", now=NOON)
        assert [(act.operator, act.door) for act in acts(tx, limit=10)] == [("unknown", "code")]


def test_acts_are_listed_from_the_latest_on(database: Database) -> None:
    with database.transaction() as tx:
        ids = [record_act(tx, f"act {n}", count=1, now=NOON) for n in range(5)]
        count_more(tx, ids[4], 6)
        assert [act.act for act in acts(tx, limit=2)] == ["act 4", "act 3"]
        assert [act.act for act in acts(tx, limit=2, before=ids[3])] == ["act 2", "act 1"]
        assert acts(tx, limit=1)[0].count == 7


def test_a_forgotten_customer_is_not_in_the_audit_and_the_act_is(database: Database) -> None:
    with database.transaction() as tx:
        record_act(tx, "takeover", target="conversation 42", session_id="42", now=NOON)
        record_act(tx, "takeover", target="conversation 7", session_id="7", now=NOON)
        assert forget_in_audit(tx, "42") == 1
        kept = [(act.act, act.target, act.session_id) for act in acts(tx, limit=10)]
    assert kept == [("takeover", "conversation 7", "7"), ("takeover", FORGOTTEN, None)]
