"""Two transactions at the same moment, without a race: one stays open while the other one tries."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from sqlalchemy import text

from mirt.store.engine.database import Database
from tests.polling import wait_until

T = TypeVar("T")

SOON_S: Final = 30.0
_WAITS: Final = text(
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@dataclass
class Other(Generic[T]):
    """The work of a second thread, with transactions of its own."""

    database: Database
    doing: "Future[T]"

    def waits(self) -> bool:
        """Wait until it is over, or waits for a lock in PostgreSQL; return whether it waits."""

        def is_waiting_or_over() -> str | None:
            with self.database.engine.connect() as look:
                if look.execute(_WAITS).scalar_one():
                    return "waits"
            return "over" if self.doing.done() else None

        return wait_until(is_waiting_or_over, within_s=SOON_S) == "waits"

    def result(self) -> T:
        """Return its result, once no other transaction is in its way."""
        return self.doing.result(SOON_S)


@contextmanager
def meanwhile(database: Database, act: Callable[[], T]) -> Iterator[Other[T]]:
    """Begin to act in a second thread; wait for its end when the block ends."""
    with ThreadPoolExecutor(1) as thread:
        yield Other(database, thread.submit(act))
