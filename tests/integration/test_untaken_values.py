"""A value that the database cannot keep is cut or refused, and is no outage of the database."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import select, text

from mirt.errors import DatabaseError, PermanentError
from mirt.runtime import current_runtime
from mirt.store.engine.database import Database
from mirt.store.engine.statement_errors import StatementError
from mirt.store.tables import conversations
from service import dispatcher
from tests.integration.conftest import Running

LONG = "".join(chr(0x4E00 + n) for n in range(3_000))
"""Many different characters: PostgreSQL compresses a repeated one."""


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url, pool_size=1)
    yield opened
    opened.close()


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO conversations (session_id, platform, customer_name, last_customer_at,"
        f" created_at) VALUES ('x', 'telegram', '{LONG}', now(), now())",
        "SELECT 1 / 0",
        "SELECT 'x'::int",
    ],
)
def test_a_value_that_cannot_be_kept_is_not_taken_for_an_outage(
    database: Database, statement: str
) -> None:
    with pytest.raises(StatementError) as refused, database.transaction() as tx:
        tx.execute(text(statement))
    assert not isinstance(refused.value, DatabaseError)


def test_a_long_name_is_cut_and_its_message_answered(run: Callable[..., Running]) -> None:
    run("eager")
    told = {"first_name": LONG}
    dispatcher.dispatch_message("42", "Привіт", chat_id="42", metadata=told, fire_and_forget=True)
    with current_runtime().database.transaction() as tx:
        assert tx.execute(select(conversations.c.customer_name)).scalar_one() == LONG[:100]


@pytest.mark.parametrize("name", ["user_id", "message_id"])
def test_a_long_id_is_refused_by_its_name(run: Callable[..., Running], name: str) -> None:
    run("eager")
    told: dict[str, Any] = {name: LONG}
    with pytest.raises(PermanentError, match=name):
        dispatcher.dispatch_message("42", "Привіт", chat_id="42", **told)
