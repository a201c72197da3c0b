"""Only a wait for a worker is a backlog: not a delay, and not the time before a replay."""

from collections.abc import Callable

import pytest
from falcon.testing import TestClient

from actors.health import ping
from middleware.dead_letters import replay
from mirt.runtime import current_runtime
from mirt.store.queue.dead_letters import DeadLetterFilter
from service.admin import purge
from service.admin.findings import findings
from service.admin.queues import activity
from service.app import create_app
from service.dispatcher import dispatch_message
from tests.clock import FakeClock
from tests.deployment import SECRET, update
from tests.integration.conftest import Running

Run = Callable[..., Running]
TRANSPORTS = ("embedded", "rabbitmq")
SHED_AFTER_S = 300


@pytest.fixture(params=TRANSPORTS)
def idle(run: Run, request: pytest.FixtureRequest, clock: FakeClock) -> Running:
    """A service without a worker."""
    return run(request.param, work=False, clock=clock, backlog_max_wait_seconds=SHED_AFTER_S)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def shown_wait_s() -> float:
    """Return the longest wait in seconds, as ``mirt inspect`` and the page show it."""
    return max(queue.oldest_wait_s for queue in activity(current_runtime()).queues)


def longest_wait_s() -> float:
    """Return the longest wait in seconds, as the ingress and the metrics measure it."""
    measured = current_runtime().conversations.backlog(count_to=10).longest_wait_s
    assert measured == pytest.approx(shown_wait_s())
    return measured


def webhook(chat: int) -> int:
    """Return the answer to a message of an ingress that looks at the backlog anew."""
    client = TestClient(create_app(current_runtime()))
    headers = {"X-Telegram-Bot-Api-Secret-Token": SECRET}
    answer = client.simulate_post(
        "/webhooks/telegram", json=update(chat, 1, "Привіт"), headers=headers
    )
    return answer.status_code


def test_a_replayed_task_has_not_waited_while_it_was_dead(idle: Running, clock: FakeClock) -> None:
    assert dispatch_message("7", "перше", chat_id="7", fire_and_forget=True)["queued"]
    clock.advance(seconds=120)
    assert longest_wait_s() == 120
    assert purge.purge(current_runtime(), "llm") == 1
    assert longest_wait_s() == 0
    clock.advance(minutes=10)
    assert replay(idle.broker, current_runtime().database, DeadLetterFilter(), clock) == 1
    assert longest_wait_s() < 1
    assert not [
        one
        for one in findings(current_runtime(), activity(current_runtime()), [])
        if "oldest" in one.what
    ]
    assert webhook(8) == 200
    clock.advance(seconds=SHED_AFTER_S)
    assert longest_wait_s() == SHED_AFTER_S
    assert webhook(9) == 503


def test_a_delayed_task_has_not_waited_until_its_time(idle: Running, clock: FakeClock) -> None:
    current_runtime().followups.schedule("f1", "7", 24, channel="telegram", chat_id="7")
    clock.advance(hours=24)
    idle.broker.publish_due()
    assert sum(queue.ready for queue in activity(current_runtime()).queues) == 1
    assert shown_wait_s() < 1
    clock.advance(seconds=SHED_AFTER_S)
    idle.broker.publish_due()
    assert shown_wait_s() == SHED_AFTER_S, "what is published again goes on waiting"


def test_a_task_that_no_customer_waits_for_keeps_none_out(idle: Running, clock: FakeClock) -> None:
    ping.send_with_options(task_id="nobody-waits")
    clock.advance(seconds=2 * SHED_AFTER_S)
    assert shown_wait_s() == 2 * SHED_AFTER_S
    assert webhook(8) == 200
