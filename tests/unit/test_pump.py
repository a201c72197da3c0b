"""The pump looks at the outbox when a task is due, and twice a second in any case."""

from math import inf

import pytest

from broker.durable import PublishRound
from broker.pump import OutboxPump


class Broker:
    """Has these rounds, one after the other."""

    ready = True

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
