"""A clock whose hands a test moves."""

from datetime import UTC, datetime, timedelta


class Hands:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        """Move by ``hours=…``, ``days=…``."""
        self.now += timedelta(**by)
