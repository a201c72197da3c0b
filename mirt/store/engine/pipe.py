"""Send the statements of a PostgreSQL transaction together, in as few round trips as possible.

BEGIN, the limits of the transaction and everything that nothing has been read from yet travel with
the next statement that is read from; COMMIT travels with what is left
(``mirt.store.engine.piped_connection``).
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import Connection, Engine, event

from mirt.store.engine.database_clock import DatabaseClock, steady_s
from mirt.store.engine.piped_connection import PipedConnection, TextAndValues

Limits = tuple[str, Mapping[str, Any]]
"""The statement that sets the limits of a transaction, and its parameters. The last column of its
row is the time of the server, in seconds since 1970."""
_KEY: Final = "pipe"


class Pipe:
    """The part of one transaction that has not been sent yet."""

    __slots__ = (
        "_begin",
        "_clock",
        "_connection",
        "_find_limits",
        "_is_begun",
        "lock_timeout_s",
        "waiting",
    )

    def __init__(
        self,
        connection: PipedConnection,
        begin: str,
        find_limits: Callable[[float], Limits],
        clock: DatabaseClock,
    ) -> None:
        self.waiting: list[TextAndValues] = []
        self._connection = connection
        self._begin = begin
        self._find_limits = find_limits
        self._clock = clock
        self._is_begun = False
        self.lock_timeout_s = 0.0

    def send(self, *statements: TextAndValues) -> list[list[Any]]:
        """Send the waiting statements and these; return the rows of each of these.

        Raises:
            psycopg.Error: one of them has failed; the transaction can only be rolled back.
        """
        before, self.waiting = self.waiting, []
        is_first = not self._is_begun
        if is_first:
            self._is_begun = True
            before = [(self._begin, None), self._find_limits(self.lock_timeout_s), *before]
        asked_at = steady_s()
        found = self._connection.exchange([*before, *statements])
        if is_first:
            [[*_, server_s]] = found[1]
            self._clock.heard(server_s, asked_at=asked_at, answered_at=steady_s())
        return found[len(before) :]

    def send_and_commit(self, *statements: TextAndValues) -> list[list[Any]]:
        """Send the waiting statements, these last ones and COMMIT; return the rows of each.

        Raises:
            psycopg.Error: one of them has failed, and nothing is committed.
        """
        *rows, _ = self.send(*statements, ("COMMIT", None))
        self._is_begun = False
        return rows

    def flush(self) -> None:
        """Send the waiting statements, and BEGIN if it has not been sent."""
        if self.waiting or not self._is_begun:
            self.send()

    def commit(self) -> None:
        """Send the waiting statements and COMMIT; a transaction that did nothing sends nothing."""
        if self.waiting or self._is_begun:
            self.send(("COMMIT", None))


def pipe_of(tx: Connection) -> Pipe | None:
    """Return the pipe of a transaction; None on SQLite."""
    return tx.info.get(_KEY)


def attach(
    engine: Engine, begin: str, find_limits: Callable[[float], Limits], clock: DatabaseClock
) -> None:
    """Have every transaction of this engine begin and end through a pipe, and set this clock.

    Statements that SQLAlchemy runs itself are sent one by one, after the waiting ones.
    """

    @event.listens_for(engine, "begin")
    def _begin(tx: Connection) -> None:
        driver: Any = tx.connection.driver_connection
        tx.info[_KEY] = Pipe(driver, begin, find_limits, clock)

    @event.listens_for(engine, "before_cursor_execute")
    def _before(tx: Connection, *_: Any) -> None:
        pipe = pipe_of(tx)
        if pipe is not None:
            pipe.flush()

    @event.listens_for(engine, "commit")
    def _commit(tx: Connection) -> None:
        pipe = pipe_of(tx)
        if pipe is not None:
            pipe.commit()
