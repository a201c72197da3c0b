"""Many statements in one exchange: prepared where that is safe, and never taken for another's."""

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import make_url

from mirt.errors import SoftTimeLimitExceeded
from mirt.store.engine import piped_connection
from mirt.store.engine.database import Database
from mirt.store.engine.piped_connection import PipedConnection

ADD = ("SELECT %(a)s::int + %(b)s::int", {"a": 1, "b": 2})


@pytest.fixture
def connection(database_url: str) -> Iterator[PipedConnection]:
    url = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    opened = PipedConnection.connect(url, autocommit=True, prepare_threshold=None)
    opened.find_out_whether_to_prepare()
    yield opened
    opened.close()


def prepared(connection: PipedConnection) -> list[tuple[str, int]]:
    """Return text and number of executions of each prepared statement."""
    return connection.execute(
        "SELECT statement, generic_plans + custom_plans FROM pg_prepared_statements"
    ).fetchall()


def test_statements_of_one_exchange_run_in_order_and_return_their_rows(
    connection: PipedConnection,
) -> None:
    rows = connection.exchange(
        [
            ("CREATE TEMP TABLE t (n int, said text)", None),
            ("INSERT INTO t VALUES (%(n)s, %(said)s), (2, %(said)s)", {"n": 1, "said": "100 %"}),
            ("SELECT n, said FROM t WHERE said LIKE '%%\\%%' ORDER BY n", {}),
        ]
    )
    assert rows == [[], [], [(1, "100 %"), (2, "100 %")]]


def test_a_repeated_statement_is_prepared_once(connection: PipedConnection) -> None:
    for _ in range(3):
        assert connection.exchange([ADD, ADD]) == [[(3,)], [(3,)]]
    assert prepared(connection) == [("SELECT $1::int + $2::int", 6)]


def test_no_more_statements_are_prepared_than_the_server_should_keep(
    connection: PipedConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(piped_connection, "MOST_PREPARED", 1)
    other = ("SELECT %(a)s::int", {"a": 5})
    assert connection.exchange([ADD, other]) == [[(3,)], [(5,)]]
    assert len(prepared(connection)) == 1


def test_nothing_is_prepared_behind_a_pooler(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A pooler gives its clients process ids of its own making.
    monkeypatch.setattr(psycopg.ConnectionInfo, "backend_pid", property(lambda _: 4711))
    database = Database(database_url)
    with database.transaction() as tx:
        driver = tx.connection.driver_connection
        assert isinstance(driver, PipedConnection)
        assert driver.exchange([ADD, ADD]) == [[(3,)], [(3,)]]
        assert prepared(driver) == []
    database.close()


def test_a_pooler_that_looks_like_a_server_costs_one_retry_and_no_preparation_after_it(
    connection: PipedConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PipedConnection, "are_mixed_up", False)
    connection.exchange([ADD])
    connection.execute("DEALLOCATE ALL")  # as another server connection: it knows none of ours
    with pytest.raises(psycopg.OperationalError):
        connection.exchange([ADD])
    assert connection.closed
    assert PipedConnection.are_mixed_up


def test_a_statement_after_one_that_failed_does_not_run(connection: PipedConnection) -> None:
    connection.exchange([("CREATE TEMP TABLE t (n int)", None)])
    add, divide = ("INSERT INTO t VALUES (%(n)s)", {"n": 1}), ("SELECT 1 / %(n)s", {"n": 0})
    with pytest.raises(psycopg.errors.DivisionByZero):
        connection.exchange([("BEGIN", None), divide, add])
    connection.rollback()
    assert connection.exchange([add, ("SELECT count(*) FROM t", None)]) == [[], [(1,)]]


def test_an_interrupted_exchange_closes_the_connection(
    connection: PipedConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(PipedConnection, "wait", interrupted)
    with pytest.raises(SoftTimeLimitExceeded):
        connection.exchange([ADD])
    assert connection.closed


def test_a_migrated_column_costs_one_retry(connection: PipedConnection) -> None:
    connection.exchange([("CREATE TEMP TABLE t (n int)", None)])
    read = ("SELECT n FROM t WHERE n <> %(n)s", {"n": 1})
    connection.exchange([read])
    connection.exchange([("ALTER TABLE t ALTER n TYPE bigint", None)])
    with pytest.raises(psycopg.OperationalError):
        connection.exchange([read])
    assert connection.closed
    assert not PipedConnection.are_mixed_up


def test_a_connection_that_the_server_ends_is_an_error_of_the_server(
    connection: PipedConnection, database_url: str
) -> None:
    database = Database(database_url)
    with database.transaction() as tx:
        tx.exec_driver_sql(
            "SELECT pg_terminate_backend(%(pid)s)", {"pid": connection.info.backend_pid}
        )
    database.close()
    with pytest.raises(psycopg.OperationalError):
        connection.exchange([ADD])
    assert connection.closed
