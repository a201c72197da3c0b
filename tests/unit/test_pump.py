"""The pump looks at the outbox when a task is due, and twice a second in any case."""

from datetime import timedelta
from math import inf

import pytest

from broker.durable import PublishRound
from broker.pump import OutboxPump
from mirt.errors import DatabaseError


class Broker:
    """Has these rounds, one after the other."""

    ready = True
    takes_running = True

    def __init__(self, *rounds: PublishRound) -> None:
        self.rounds = list(rounds)

    def publish_round(self, limit: int) -> PublishRound:
        return self.rounds.pop(0)


@pytest.mark.parametrize(
    ("next_due_s", "pause_s"), [(0.2, 0.2), (4, 0.5), (inf, 0.5), (0.001, 0.05), (-3, 0.05)]
)
def test_the_next_look_is_when_the_next_task_is_due(next_due_s: float, pause_s: float) -> None:
    broker = Broker(PublishRound(1, is_full=False, next_due_s=next_due_s))
    assert OutboxPump()._publish(broker) == pause_s


def test_all_that_is_due_is_published_before_the_pause() -> None:
    full, rest = (PublishRound(500, is_full=is_full, next_due_s=9) for is_full in (True, False))
    broker = Broker(full, full, rest)
    OutboxPump()._publish(broker)
    assert broker.rounds == []


def test_a_transport_that_takes_nothing_is_looked_at_again_later() -> None:
    broker = Broker()
    broker.ready = False
    assert OutboxPump()._publish(broker) == 0.5


class Away(Broker):
    """Has a database that is away, and then back."""

    def __init__(self) -> None:
        super().__init__()
        self.failing = True
        self.took_running: list[bool] = []

    def publish_round(self, limit: int) -> PublishRound:
        if self.failing:
            raise DatabaseError("away")
        self.took_running.append(self.takes_running)
        return PublishRound(0, is_full=False, next_due_s=inf)


def test_after_an_outage_of_the_database_running_tasks_are_left_to_their_owners_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr("broker.pump.time.monotonic", lambda: now[0])
    broker, publishing = Away(), OutboxPump(timedelta(seconds=30))
    assert publishing.look(broker, 0.5) == 1.0
    broker.failing = False
    for now[0] in (200.0, 209.0, 211.0):
        publishing.look(broker, 0.5)
    assert broker.took_running == [False, False, True]


@pytest.mark.parametrize("error", [DatabaseError("away"), ZeroDivisionError()])
def test_the_pause_grows_after_an_error_and_the_pump_goes_on(error: Exception) -> None:
    class Failing(Broker):
        def publish_round(self, limit: int) -> PublishRound:
            raise error

    pauses = [0.5]
    for _ in range(5):
        pauses.append(OutboxPump().look(Failing(), pauses[-1]))
    assert pauses == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
