"""Housekeeping: rows that are over and older than RETENTION_DAYS go."""

from datetime import timedelta
from typing import Final

from mirt.clock import Clock
from mirt.store.database import Database
from mirt.store.retention import OLD, remove_old

BATCH: Final = 1_000


class Housekeeping:
    """Removes what nobody will ask for again."""

    def __init__(self, database: Database, clock: Clock, *, retention_days: int) -> None:
        self._database = database
        self._clock = clock
        self._retention = timedelta(days=retention_days)

    def remove_old_rows(self) -> dict[str, int]:
        """Remove them, each batch a transaction of its own; how many, by table."""
        before = self._clock() - self._retention
        removed = {}
        for table, key, old in OLD:
            count = 0
            while True:
                with self._database.transaction() as tx:
                    batch = remove_old(tx, table, key, old, before=before, limit=BATCH)
                count += batch
                if batch < BATCH:
                    break
            removed[table.name] = count
        return removed
