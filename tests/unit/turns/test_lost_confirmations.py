"""A commit whose confirmation was lost is repeated, and changes nothing the second time."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection

from mirt.errors import DatabaseError
from mirt.store.tables import deliveries, history, turns
from tests.unit.business import rows
from tests.unit.turns.conftest import Shop


@pytest.fixture
def lose_the_next(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list: an error in it is that of the next transaction, after its commit."""
    lost: list[str] = []
    commit = shop.database.transaction

    @contextmanager
    def transaction() -> Iterator[Connection]:
        with commit() as tx:
            yield tx
        if lost:
            raise DatabaseError(lost.pop())

    monkeypatch.setattr(shop.database, "transaction", transaction)
    return lost


def test_the_reply_is_stored_once_and_the_agent_asked_once(
    shop: Shop, lose_the_next: list[str]
) -> None:
    shop.receive("t1")
    shop.agent.meanwhile = lambda: lose_the_next.append("while the reply was stored")
    shop.answer("t1")
    assert lose_the_next == []
    assert len(shop.agent.asked) == len(rows(shop.database, turns)) == 1
    assert [row.content for row in rows(shop.database, history)] == ["t1", "answer 1"]
    assert shop.shown == [("7", "answer 1")]


def test_a_part_that_was_sent_is_counted_once_and_not_sent_again(
    shop: Shop, lose_the_next: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.receive("t1")
    show = shop.console.send

    def send(chat_id: str, part: str, *, reply_to: str | None = None) -> object:
        lose_the_next.append("while the part was counted")
        return show(chat_id, part, reply_to=reply_to)

    monkeypatch.setattr(shop.console, "send", send)
    shop.answer("t1")
    assert lose_the_next == []
    assert shop.shown == [("7", "answer 1")]
    [sent] = rows(shop.database, deliveries)
    assert (sent.state, sent.parts_sent, sent.unknown) == ("sent", 1, 0)


def test_a_turn_whose_end_was_not_confirmed_still_publishes_the_next_head(
    shop: Shop, lose_the_next: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.receive("t1")
    show = shop.console.send

    def send(chat_id: str, part: str, *, reply_to: str | None = None) -> object:
        shop.receive("t2")
        lose_the_next.append("while the turn was closed")
        return show(chat_id, part, reply_to=reply_to)

    monkeypatch.setattr(shop.console, "send", send)
    outcome = shop.answer("t1")
    assert [task.task_id for task in outcome.to_publish] == ["t2"]
    assert (shop.head(), len(shop.agent.asked)) == ("t2", 1)
