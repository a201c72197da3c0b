"""A summary replaces exactly the lines that it was made of, unless something has changed since."""

import pytest
from sqlalchemy import update

from mirt.store.engine.database import Database
from mirt.store.shop import mailbox
from mirt.store.shop.summaries import Unsummarised, read_unsummarised, replace_with_summary
from mirt.store.tables import conversations, history
from tests.clock import NOON
from tests.unit.business import mail, rows
from tests.unit.store.rows import after


def said(database: Database, *lines: str) -> None:
    with database.transaction() as tx:
        mailbox.record_activity_and_lock(tx, mail("t1"), now=NOON)
        for content in lines:
            line = {"session_id": "s", "role": "user", "content": content, "turn_id": "t"}
            tx.execute(history.insert().values(**line, created_at=NOON))


def read(database: Database, *, until_id: int = 99, characters: int = 1000) -> Unsummarised | None:
    with database.transaction() as tx:
        return read_unsummarised(tx, "s", until_id=until_id, characters=characters)


def replaced(database: Database, found: Unsummarised, *, at: float = 1) -> bool:
    with database.transaction() as tx:
        return replace_with_summary(tx, "s", found, "a summary", now=after(at))


def left(database: Database) -> list[str]:
    return [line.content for line in rows(database, history)]


def test_lines_that_came_meanwhile_stay(database: Database) -> None:
    said(database, "one", "two")
    found = read(database)
    assert found is not None
    said(database, "three")
    assert replaced(database, found)
    assert left(database) == ["three"]
    assert not replaced(database, found, at=2), "the lines are gone"


@pytest.mark.parametrize("changed", [{"summary": "a newer one"}, {"restarted_after": 1}])
def test_a_summary_that_comes_late_changes_nothing(
    database: Database, changed: dict[str, object]
) -> None:
    said(database, "one", "two")
    found = read(database)
    assert found is not None
    with database.transaction() as tx:
        tx.execute(update(conversations).values(**changed))
    assert not replaced(database, found)
    assert left(database) == ["one", "two"]


def test_a_second_commit_of_the_same_summary_changes_nothing_and_succeeds(
    database: Database,
) -> None:
    said(database, "one")
    found = read(database)
    assert found is not None
    assert replaced(database, found)
    assert replaced(database, found)


def test_lines_from_before_a_restart_or_after_the_beginning_are_not_read(
    database: Database,
) -> None:
    said(database, "one", "two", "three", "four")
    first, *_ = rows(database, history)
    with database.transaction() as tx:
        tx.execute(update(conversations).values(restarted_after=first.id))
    found = read(database, until_id=first.id + 2)
    assert found is not None
    assert [line.content for line in found.lines] == ["two", "three"]


def test_a_round_has_so_many_characters_and_one_line_at_least(database: Database) -> None:
    said(database, "12345", "678", "9")
    for characters, lines in ((1, 1), (7, 1), (8, 2), (9, 3)):
        found = read(database, characters=characters)
        assert found is not None
        assert len(found.lines) == lines
