"""Remove finished rows that are older than RETENTION_DAYS."""

from datetime import timedelta
from typing import Final

import structlog

from mirt.clock import Clock, time_left
from mirt.store.engine.database import Database
from mirt.store.shop.retention import OLD, remove_old

log = structlog.get_logger(__name__)

BATCH: Final = 1_000
"""Rows that one transaction removes."""
LAST_BATCH_S: Final = 15.0
"""No batch begins when the task has fewer seconds left: it could wait for a lock, and fail."""


class Housekeeping:
    """The removal of rows that are finished and past their retention."""

    def __init__(self, database: Database, clock: Clock, *, retention_days: int) -> None:
        self._database = database
        self._clock = clock
        self._retention = timedelta(days=retention_days)

    def remove_old_rows(self) -> dict[str, int]:
        """Remove old rows and return how many, by table. Each batch is a transaction of its own.

        Rows for which there is no time left are removed by the next run.
        """
        before = self._clock() - self._retention
        removed: dict[str, int] = {}
        for table, key, old in OLD:
            count = 0
            while True:
                if time_left(LAST_BATCH_S) < LAST_BATCH_S:
                    log.warning("old_rows_left", table=table.name)
                    return {**removed, table.name: count}
                with self._database.transaction() as tx:
                    batch = remove_old(tx, table, key, old, before=before, limit=BATCH)
                count += batch
                if batch < BATCH:
                    break
            removed[table.name] = count
        return removed
