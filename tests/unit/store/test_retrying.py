"""The answers of outside services are stored although the database is away for a while."""

import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from mirt.clock import deadline_in
from mirt.errors import DatabaseError, LeaseLostError, SoftTimeLimitExceeded
from mirt.store.engine.database import Database
from mirt.store.engine.retrying import AGAIN_S, commit_with_retry


def one(tx: Connection) -> int:
    return int(tx.execute(text("SELECT 1")).scalar_one())


def test_a_commit_is_repeated_until_the_database_is_back(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/later/mirt.db")
    (tmp_path / "later").rmdir()
    back = threading.Timer(1.5 * AGAIN_S, (tmp_path / "later").mkdir)
    back.start()
    with deadline_in(10):
        assert commit_with_retry(database, one) == 1
    back.join()
    database.close()


def test_a_database_that_stays_away_is_said_to_be_away_by_the_deadline(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/gone/mirt.db")
    (tmp_path / "gone").rmdir()
    began = time.monotonic()
    with deadline_in(3 * AGAIN_S), pytest.raises(DatabaseError):
        commit_with_retry(database, one)
    assert AGAIN_S < time.monotonic() - began < 3 * AGAIN_S
    database.close()


@pytest.mark.parametrize("error", [LeaseLostError("lost"), SoftTimeLimitExceeded(), ValueError()])
def test_an_error_that_is_no_fault_of_the_database_is_not_repeated(
    database: Database, error: Exception
) -> None:
    tries: list[int] = []

    def write(tx: Connection) -> None:
        tries.append(one(tx))
        raise error

    with deadline_in(10), pytest.raises(type(error)):
        commit_with_retry(database, write)
    assert tries == [1]


def test_an_outage_that_outlasts_the_work_is_the_fault_of_the_database(database: Database) -> None:
    errors: list[Exception] = [DatabaseError("away"), SoftTimeLimitExceeded()]

    def write(_tx: Connection) -> None:
        raise errors.pop(0)

    with deadline_in(10), pytest.raises(DatabaseError, match="away"):
        commit_with_retry(database, write)
    assert errors == []
