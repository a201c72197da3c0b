"""What operators look at needs of a process: a clock and the database, and nothing outside."""

from typing import Protocol

from mirt.clock import Clock
from mirt.store.engine.database import Database


class AdminContext(Protocol):
    """Any runtime is one; a command that only looks opens no more than this."""

    @property
    def clock(self) -> Clock:
        """The time."""

    @property
    def database(self) -> Database:
        """What is known."""
