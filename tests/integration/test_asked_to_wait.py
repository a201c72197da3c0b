"""A 429 is about one chat or one account: only that one gets no request for the seconds asked."""

from collections.abc import Callable

import pytest
from sqlalchemy import select

from actors.messages import send_response
from mirt.store.engine.stores import stores
from mirt.store.queue.events import events_of
from mirt.store.tables import task_events
from tests.fakes import FakeServices, TooMany
from tests.integration.conftest import Running
from tests.polling import wait_until


@pytest.mark.parametrize("transport", ["embedded", "rabbitmq"])
def test_a_429_holds_its_own_chat_for_all_tasks_and_no_other(
    run: Callable[..., Running], transport: str, services: FakeServices
) -> None:
    services.misbehave("telegram", TooMany(2), times=1, chat="7")
    running = run(transport)
    first = send_response.send("telegram", "7", "first")
    wait_until(lambda: _was_told_to_wait(running, first.message_id))
    send_response.send("telegram", "7", "second")
    send_response.send("telegram", "8", "elsewhere")
    wait_until(lambda: len(services.sent("7")) == 2)
    refused, elsewhere, *again = (request.time for request in services.requests("telegram"))
    assert len(again) == 2
    assert min(again) - refused >= 2
    assert elsewhere < min(again)


@pytest.mark.parametrize("transport", ["embedded", "rabbitmq"])
def test_a_chat_that_was_told_to_wait_waits_no_more_than_a_second_longer(
    run: Callable[..., Running], transport: str, services: FakeServices
) -> None:
    services.misbehave("telegram", TooMany(4), times=1, chat="7")
    running = run(transport)
    send_response.send("telegram", "7", "hello")
    wait_until(lambda: services.sent("7"))
    refused, again = (request.time for request in services.requests("telegram"))
    assert again - refused >= 4
    # The pump looks at the moment that is planned; a busy machine may be late nevertheless.
    with stores(running.settings).database.transaction() as tx:
        [event] = tx.execute(select(task_events))
    assert 4 <= (event.until - event.at).total_seconds() <= 4.5


def _was_told_to_wait(running: Running, task_id: str) -> bool:
    with stores(running.settings).database.transaction() as tx:
        return any(event.code == "RateLimitError" for event in events_of(tx, [task_id]))
