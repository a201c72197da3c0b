"""A clock that a test moves."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

NOON: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class FakeClock:
    """Stands still until a test advances it: ``clock.advance(hours=2)``."""

    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> None:
        """Move forward by ``seconds=…``, ``hours=…``, ``days=…``."""
        self.now += timedelta(**by)
