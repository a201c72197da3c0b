"""Everything about a customer is found, and erased; a new table or column is covered by itself."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import JSON, Boolean, Column, Integer, Table, insert, select

from mirt.store.engine.database import Database
from mirt.store.shop import personal_data
from mirt.store.shop.orders import OrderState
from mirt.store.tables import (
    audit,
    conversations,
    deliveries,
    handover_events,
    inbox,
    metadata,
    orders,
    tasks,
)
from mirt.store.tables.columns import UtcDateTime
from tests.everywhere import as_text, in_database

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SESSION, OTHER = "777001", "777002"
IMPERSONAL = {
    "health_checks": "of workers",
    "holds": "of outside services; their words are redacted",
    "schema_versions": "of migrations",
    "ticks": "of the schedule",
    "webhooks": "of channels",
    "workers": "of processes",
    "ended_sessions": "of operators",
}
"""The tables without personal data. A table that is in neither list fails the test below."""
KEPT = {
    "tasks": {"id", "actor"},
    "inbox": {"task_id", "actor", "platform"},
    "orders": {"external_id", "task_id", "source", "crm_order_id", "status"},
    "audit": {"operator", "door", "act", "outcome"},
}
"""The texts that stay: names of our own, and what the books need."""


def fill(table: Table, session_id: str, word: str) -> dict[str, Any]:
    """Return a row about the conversation with the word in every text of it."""
    return {
        column.name: _value(table, column, session_id, word)
        for column in table.columns
        if not (column.primary_key and isinstance(column.type, Integer))
    }


def _value(table: Table, column: Column[Any], session_id: str, word: str) -> Any:
    if column.name == "session_id":
        return session_id
    if column.name == "subject":
        return f"conversation {session_id}"
    if column.name == "state":
        return "created" if table.name == "orders" else "done"
    if column.name in {"id", "task_id"}:
        return f"task-{session_id}"
    if isinstance(column.type, UtcDateTime):
        return NOW
    if isinstance(column.type, Boolean):
        return False
    if isinstance(column.type, Integer):
        return 0
    if isinstance(column.type, JSON):
        return {"said": word, "items": [{"product_name": word, "price": "1", "quantity": 1}]}
    is_kept = column.name in KEPT.get(table.name, ())
    return f"{column.name}-{session_id}" if is_kept else f"{word} {column.name}"


def personal_tables() -> list[Table]:
    return [table for table in metadata.sorted_tables if table.name not in IMPERSONAL]


@pytest.fixture
def filled(database: Database) -> Database:
    with database.transaction() as tx:
        for session_id, word in ((SESSION, "marker"), (OTHER, "stays")):
            for table in personal_tables():
                tx.execute(insert(table).values(fill(table, session_id, word)))
    return database


def forget(database: Database, session_id: str = SESSION) -> dict[str, int]:
    with database.transaction() as tx:
        person = personal_data.find_person(tx, session_id)
        personal_data.lock_person(tx, person)
        return personal_data.erase(tx, person, now=NOW)


def test_every_table_is_erased_or_has_no_personal_data() -> None:
    known = {table.name for table in personal_data.PERSONAL} | {"audit"}
    assert {table.name for table in personal_tables()} == known


def test_no_column_of_any_table_keeps_a_word_of_a_forgotten_customer(filled: Database) -> None:
    assert in_database(filled, ["marker"]), "the search finds what is there"
    before = len(in_database(filled, ["stays"]))
    erased = forget(filled)
    assert set(erased) == {table.name for table in personal_tables()}
    assert in_database(filled, ["marker"]) == []
    assert len(in_database(filled, ["stays"])) == before, "nothing of another customer is touched"


def test_to_forget_twice_changes_nothing(filled: Database) -> None:
    forget(filled)
    after = dump(filled)
    assert forget(filled) == {}
    assert dump(filled) == after


def test_an_export_holds_every_word_and_nothing_of_others(filled: Database) -> None:
    with filled.transaction() as tx:
        rows = personal_data.read_rows(tx, personal_data.find_person(tx, SESSION))
    text = as_text(rows)
    assert set(rows) == {table.name for table in personal_data.PERSONAL}
    assert text.count("marker") == len(in_database_of(filled, personal_data.PERSONAL, "marker"))
    assert "stays" not in text


def in_database_of(database: Database, tables: Any, word: str) -> list[str]:
    names = {table.name for table in tables}
    with database.transaction() as tx:
        return [
            column
            for table in metadata.sorted_tables
            if table.name in names
            for row in tx.execute(select(table)).mappings()
            for column, value in row.items()
            for _ in range(as_text(value).count(word))
        ]


def test_an_order_that_waits_for_a_person_is_deleted_and_one_under_way_has_failed(
    database: Database,
) -> None:
    with database.transaction() as tx:
        for state in OrderState:
            row = fill(orders, SESSION, "marker")
            tx.execute(insert(orders).values({**row, "external_id": state, "state": state}))
    forget(database)
    with database.transaction() as tx:
        rows = tx.execute(select(orders.c.external_id, orders.c.state))
        left = {row.external_id: row.state for row in rows}
    assert left == {
        "refused": "refused",
        "created": "created",
        "rejected": "rejected",
        "failed": "failed",
        "creating": "failed",
        "asking": "failed",
        "unknown": "failed",
    }


def test_a_task_that_runs_loses_its_lease_and_never_runs_again(filled: Database) -> None:
    forget(filled)
    with filled.transaction() as tx:
        row = tx.execute(select(tasks).where(tasks.c.id == f"task-{SESSION}")).one()
    assert (row.state, row.owner, row.due_at, row.fence) == ("done", None, None, 1)


def test_the_mail_of_a_forgotten_customer_is_known_still_by_its_id_alone(filled: Database) -> None:
    forget(filled)
    with filled.transaction() as tx:
        row = tx.execute(select(inbox).where(inbox.c.task_id == f"task-{SESSION}")).one()
    assert (row.text, row.session_id, row.state) == ("", "", "answered")


def test_a_reply_sent_to_the_chat_alone_is_the_customers(database: Database) -> None:
    with database.transaction() as tx:
        row = {
            **fill(conversations, "manychat:5", "marker"),
            "chat_id": "5",
            "platform": "manychat",
        }
        tx.execute(insert(conversations).values(row))
        row = {**fill(tasks, SESSION, "marker"), "actor": "send_response", "session_id": None}
        tx.execute(insert(tasks).values({**row, "args": ["manychat", "5", "marker"]}))
    assert set(forget(database, "manychat:5")) == {"conversations", "tasks"}
    assert in_database(database, ["marker"]) == []


def test_a_notice_to_the_staff_about_a_customer_is_erased_with_the_customer(
    filled: Database,
) -> None:
    told = {**fill(deliveries, "staff", "marker"), "id": f"task-{SESSION}:staff"}
    task = {**fill(tasks, SESSION, "marker"), "id": told["id"], "actor": "tell_staff"}
    with filled.transaction() as tx:
        tx.execute(insert(deliveries).values(told))
        tx.execute(insert(tasks).values(task))
    assert forget(filled)["deliveries"] == 2
    assert in_database(filled, ["marker"]) == []


def test_the_chat_of_a_group_is_of_no_one_customer(database: Database) -> None:
    with database.transaction() as tx:
        for session_id in ("group:1", "group:2"):
            row = {**fill(conversations, session_id, "marker"), "chat_id": "-100"}
            tx.execute(insert(conversations).values(row))
        row = {**fill(handover_events, "-100", "marker")}
        tx.execute(insert(handover_events).values(row))
    assert forget(database, "group:1") == {"conversations": 1}


def test_the_audit_keeps_the_act_and_not_the_customer(filled: Database) -> None:
    forget(filled)
    with filled.transaction() as tx:
        mine = tx.execute(select(audit).where(audit.c.session_id.is_(None))).one()
    assert (mine.act, mine.target) == (f"act-{SESSION}", "a forgotten customer")


def dump(database: Database) -> list[Any]:
    with database.transaction() as tx:
        return [tuple(row) for t in metadata.sorted_tables for row in tx.execute(select(t))]
