"""Remove rows that are older than their retention and no longer needed."""

from collections import Counter, deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from mirt.clock import Clock, time_left
from mirt.errors import DatabaseError
from mirt.store.engine.database import Database
from mirt.store.shop.retention import (
    ACTS,
    DEAD_LETTERS,
    OLD,
    ORDERS,
    SILENT,
    Cursor,
    OldRows,
    remove_batch,
)

log = structlog.get_logger(__name__)

BATCH: Final = 1_000
"""Rows that one transaction looks at."""
LAST_BATCH_S: Final = 15.0
"""No batch begins when the task has fewer seconds left: it could wait for a lock, and fail."""
LONGEST_S: Final = 3_600.0
"""Seconds of a run without a deadline."""


@dataclass(slots=True)
class _Walk:
    """The way through one table. ``cursor`` is None at its beginning and at its end."""

    rows: OldRows
    before: datetime
    cursor: Cursor | None = None
    removed: int = 0
    is_done: bool = False

    @property
    def table(self) -> str:
        return self.rows.table.name


class Housekeeping:
    """The removal of rows that are finished and past their retention."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        retention_days: int,
        audit_retention_days: int,
        conversation_retention_days: int = 0,
        order_retention_days: int = 0,
        dead_letter_retention_days: int = 0,
    ) -> None:
        """Take the days after which rows go; 0, where it is allowed: never."""
        self._database = database
        self._clock = clock
        self._days = (
            (OLD, retention_days),
            ((ACTS,), audit_retention_days),
            (SILENT, conversation_retention_days),
            ((ORDERS,), order_retention_days),
            ((DEAD_LETTERS,), dead_letter_retention_days),
        )

    def remove_old_rows(self) -> dict[str, int]:
        """Remove old rows and return how many, by table. Each batch is a transaction of its own.

        Each table gets an equal share of the time that is left, and a table that fails keeps no
        other from its share. Rows for which there is no time left are removed by the next run.

        Raises:
            DatabaseError, SQLAlchemyError: a table has failed; the others are done.
        """
        now = self._clock()
        walks = [
            _Walk(rows, now - timedelta(days=days))
            for kinds, days in self._days
            if days
            for rows in kinds
        ]
        unfinished, failure = deque(walks), None
        while unfinished and (left := _left()) >= 0:
            walk = unfinished.popleft()
            try:
                self._continue(walk, until_left=left - left / (len(unfinished) + 1))
            except (DatabaseError, SQLAlchemyError) as failed:
                failure = failure or failed
                log.warning("old_rows_not_removed", table=walk.table, why=type(failed).__name__)
                continue
            if not walk.is_done:
                unfinished.append(walk)
        for walk in unfinished:
            log.warning("old_rows_left", table=walk.table)
        if failure is not None:
            raise failure
        removed = Counter[str]()
        for walk in walks:
            removed[walk.table] += walk.removed
        return dict(removed)

    def _continue(self, walk: _Walk, *, until_left: float) -> None:
        """Walk on by at least one batch, until the end or until so many seconds are left."""
        while True:
            with self._database.transaction() as tx:
                batch = remove_batch(
                    tx, walk.rows, before=walk.before, cursor=walk.cursor, limit=BATCH
                )
            walk.removed += batch.removed
            walk.cursor, walk.is_done = batch.cursor, batch.cursor is None
            if walk.is_done or _left() <= until_left:
                return


def _left() -> float:
    return time_left(LONGEST_S) - LAST_BATCH_S
