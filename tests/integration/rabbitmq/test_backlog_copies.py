"""A task that waits in a backlog has one message in RabbitMQ, and a lost one is found (G1)."""

from collections.abc import Callable

import pika
import pytest

from actors.health import ping
from broker.rabbitmq import backlog
from mirt.errors import BrokerUnavailableError
from mirt.store.queue import outbox
from tests.clock import FakeClock
from tests.integration.conftest import Running
from tests.polling import wait_until

Run = Callable[..., Running]
QUEUE = "default"
LOOKS_S = (10, 20, 40, 80)
"""Seconds between the moments at which a task that waits is due."""
COUNT = 5


class Waiting:
    """Tasks that wait for a worker, and their messages in RabbitMQ."""

    def __init__(self, running: Running, clock: FakeClock, url: str) -> None:
        self.broker = running.broker
        self.clock = clock
        self._url = url

    def look(self, after_s: float) -> int:
        """Return how many of them the outbox has published again after so many seconds."""
        self.clock.advance(seconds=after_s)
        return self.broker.publish_due()

    def messages(self) -> int:
        """Return the number of their messages that RabbitMQ has."""
        with pika.BlockingConnection(pika.URLParameters(self._url)) as connection:
            found = connection.channel().queue_declare(QUEUE, passive=True)
        return int(found.method.message_count)

    def lose(self, count: int) -> None:
        """Take messages out of RabbitMQ that no worker has run."""
        with pika.BlockingConnection(pika.URLParameters(self._url)) as connection:
            channel = connection.channel()
            for _ in range(count):
                assert channel.basic_get(QUEUE, auto_ack=True)[0] is not None


@pytest.fixture
def waiting(run: Run, rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch) -> Waiting:
    """Send some tasks while there is no worker."""
    monkeypatch.setattr(backlog, "LOOK_AGAIN_S", 0.0)
    clock = FakeClock()
    made = Waiting(run("rabbitmq", work=False, clock=clock), clock, rabbitmq_url)
    for n in range(COUNT):
        ping.send_with_options(task_id=f"ping-{n}")
    wait_until(lambda: made.messages() == COUNT)
    return made


def test_tasks_that_wait_for_minutes_have_one_message_each(waiting: Waiting) -> None:
    assert [waiting.look(after_s) for after_s in LOOKS_S] == [0] * len(LOOKS_S)
    assert waiting.messages() == COUNT


def test_a_task_that_waits_for_longer_is_published_again_without_a_question(
    waiting: Waiting,
) -> None:
    for after_s in LOOKS_S:
        waiting.look(after_s)
    assert waiting.look(160) == COUNT


@pytest.mark.parametrize("lost", [1, COUNT])
def test_messages_that_rabbitmq_has_lost_are_published_at_the_next_look(
    waiting: Waiting, lost: int
) -> None:
    waiting.look(LOOKS_S[0])
    waiting.lose(lost)
    assert waiting.look(LOOKS_S[1]) == COUNT
    assert waiting.messages() == 2 * COUNT - lost


def test_a_task_that_was_stored_and_never_published_goes_out_behind_a_backlog(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(waiting.broker), "transmit", _dies)
    with pytest.raises(SystemExit):
        ping.send_with_options(task_id="unpublished")
    monkeypatch.undo()
    assert waiting.look(LOOKS_S[0]) >= 1
    assert waiting.messages() > COUNT


def _dies(*_: object, **__: object) -> None:
    raise SystemExit


def test_a_task_whose_publication_has_failed_goes_out_at_once(waiting: Waiting) -> None:
    waiting.clock.advance(seconds=1)
    with waiting.broker.database.transaction() as tx:
        outbox.make_due(tx, ["ping-0"], now=waiting.clock())
    assert waiting.look(0) == 1


def test_tasks_are_published_again_if_rabbitmq_cannot_be_asked(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise BrokerUnavailableError("no")

    monkeypatch.setattr(waiting.broker._backlog, "_read_depths", refused)  # type: ignore[attr-defined]
    assert waiting.look(LOOKS_S[0]) == COUNT
