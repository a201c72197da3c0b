"""Group commit: run the small transactions of many threads as one, in one round trip.

A batch forms by load alone. A thread that comes while nothing is under way sends its statement at
once. Those that come meanwhile wait, and one of them then sends all of theirs.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

from sqlalchemy import Connection

from mirt.errors import DatabaseError
from mirt.store.engine.statement_errors import BusyError
from mirt.store.engine.statements import Row, Statement, fetch_all_and_commit

LARGEST_BATCH: Final = 64
LOCK_TIMEOUT_S: Final = 0.2
"""Seconds that a batch waits for a lock. Then each statement waits for its own lock alone."""


class _Entry:
    """A statement that waits for its batch, and what became of it."""

    __slots__ = ("_woken", "error", "leads", "query", "row", "rows")

    def __init__(self, statement: Statement, values: Mapping[str, Any], row: str) -> None:
        self.query = (statement, values)
        self.row = row
        self.rows: list[Row] | None = None
        self.error: DatabaseError | None = None
        self.leads = False
        self._woken = threading.Lock()
        self._woken.acquire()

    def wait(self) -> None:
        """Wait until the batch is committed or has failed, or until this entry leads the next."""
        self._woken.acquire()

    def wake(self) -> None:
        """End the wait."""
        self._woken.release()


class GroupCommit:
    """Runs transactions of one statement each, together with those of other threads.

    What one of them does to the others is time only: after an error of a statement nothing of its
    batch is committed, and each statement runs again in a transaction of its own.
    """

    def __init__(self, transaction: Callable[..., AbstractContextManager[Connection]]) -> None:
        """``transaction`` is that of the database, with ``lock_timeout_s``."""
        self._transaction = transaction
        self._lock = threading.Lock()
        self._waiting: list[_Entry] = []
        self._is_busy = False

    def run(self, statement: Statement, values: Mapping[str, Any], *, row: str) -> list[Row]:
        """Run a statement, commit it, and return its rows.

        ``row`` is the id of the one row that it locks: a batch locks its rows in the order of their
        ids, so that two batches cannot block each other.

        Raises:
            DatabaseError: as ``Database.transaction``; after a lost connection it may be committed.
        """
        mine = _Entry(statement, values, row)
        with self._lock:
            self._waiting.append(mine)
            mine.leads, self._is_busy = not self._is_busy, True
        if not mine.leads:
            mine.wait()
        if mine.leads:
            self._lead()
        if mine.error is not None:
            raise mine.error
        return self._alone(mine) if mine.rows is None else mine.rows

    def _lead(self) -> None:
        """Run the statements that wait; then let the first of those that came meanwhile lead."""
        with self._lock:
            batch, self._waiting = self._waiting[:LARGEST_BATCH], self._waiting[LARGEST_BATCH:]
        try:
            self._together(batch)
        finally:
            for entry in batch[1:]:
                entry.wake()
            with self._lock:
                self._is_busy = bool(self._waiting)
                if self._is_busy:
                    self._waiting[0].leads = True
                    self._waiting[0].wake()

    def _together(self, batch: Sequence[_Entry]) -> None:
        ordered = sorted(batch, key=lambda entry: entry.row)
        try:
            with self._transaction(lock_timeout_s=LOCK_TIMEOUT_S) as tx:
                found = fetch_all_and_commit(tx, [entry.query for entry in ordered])
        except BusyError:
            return
        except DatabaseError as failed:
            # It may be committed. An error of each thread's own, since each raises it.
            for entry in batch:
                entry.error = DatabaseError(failed.message)
            return
        except Exception:  # noqa: BLE001 - the one that has caused it gets it again, alone
            return
        for entry, rows in zip(ordered, found, strict=True):
            entry.rows = rows

    def _alone(self, entry: _Entry) -> list[Row]:
        with self._transaction() as tx:
            return fetch_all_and_commit(tx, [entry.query])[0]
