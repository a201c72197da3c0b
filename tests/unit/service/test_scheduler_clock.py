"""A scheduler tells the time of its machine; ticks go by the time of the database."""

from datetime import UTC, datetime, timedelta

import pytest
from structlog.typing import EventDict

from actors.housekeeping import sweep_mailboxes
from broker.task import registry
from mirt.errors import DatabaseError
from tests.unit.service.conftest import Open

SEVEN = datetime(2026, 3, 1, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ahead_s", "minute"),
    [
        (0.0, SEVEN),
        (0.4, SEVEN),
        (60.0, SEVEN - timedelta(minutes=1)),
        (30.0, SEVEN - timedelta(minutes=1)),
        (-30.0, SEVEN),
        (-60.0, SEVEN + timedelta(minutes=1)),
    ],
)
def test_a_tick_belongs_to_the_minute_of_the_database(
    ingress: Open, monkeypatch: pytest.MonkeyPatch, ahead_s: float, minute: datetime
) -> None:
    ingress()
    ticks: list[datetime] = []
    monkeypatch.setattr(registry.broker, "tick", ticks.append)
    monkeypatch.setattr(registry.broker.database, "clock_ahead_s", lambda: ahead_s)
    sweep_mailboxes.send_with_options(scheduled_at=str(SEVEN))
    assert [tick.replace(second=0, microsecond=0) for tick in ticks] == [minute]


def test_a_scheduler_outlives_a_database_that_was_never_there(
    ingress: Open, monkeypatch: pytest.MonkeyPatch, logs: list[EventDict]
) -> None:
    ingress()

    def away() -> float:
        raise DatabaseError("away")

    monkeypatch.setattr(registry.broker.database, "clock_ahead_s", away)
    sweep_mailboxes.send_with_options(scheduled_at=str(SEVEN))
    assert "ticks_missed" in [line["event"] for line in logs]
