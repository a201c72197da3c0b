"""The context of the functions for operators: a clock and the database, nothing outside."""

from typing import Protocol

from mirt.clock import Clock
from mirt.store.engine.database import Database


class AdminContext(Protocol):
    """Implemented by ``Runtime``, and by a command that only reads and opens no more than this."""

    @property
    def clock(self) -> Clock:
        """The clock; tests pass a fake one."""

    @property
    def database(self) -> Database:
        """The database; read-only for a command that only reads."""
