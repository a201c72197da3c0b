"""The pump of the outbox outlives what it finds in it, and publishes the rest."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from actors.health import ping
from actors.housekeeping import sweep_mailboxes
from broker.durable import PublishResult, PublishRound
from mirt.clock import utc_now
from mirt.store.queue import outbox
from mirt.store.queue.tasks import TaskMessage
from mirt.store.tables import dead_letters, tasks
from tests.clock import FakeClock
from tests.integration.conftest import TRANSPORTS, Running
from tests.polling import wait_until

Run = Callable[..., Running]
STRANGER = TaskMessage("stranger", "nobody_knows", ["first"], {"a": 1}, {"trace_id": "t" * 32})


def have_due(running: Running, *due: TaskMessage) -> None:
    with running.broker.database.transaction() as tx:
        for one in due:
            outbox.add(tx, one, now=utc_now(), due_at=utc_now())


def states(running: Running) -> dict[str, str]:
    with running.broker.database.transaction() as tx:
        return {row.id: row.state for row in tx.execute(tasks.select())}


def letters(running: Running) -> list[Any]:
    with running.broker.database.transaction() as tx:
        return list(tx.execute(dead_letters.select()))


def assert_buried(running: Running) -> None:
    [letter] = letters(running)
    assert (letter.task_id, letter.actor) == (STRANGER.task_id, STRANGER.actor)
    assert (letter.args, letter.kwargs) == (STRANGER.args, STRANGER.kwargs)
    assert (letter.error_code, letter.trace_id) == ("UNKNOWN_ACTOR", "t" * 32)


@pytest.mark.usefixtures("impatient_with_unknown_tasks")
@pytest.mark.parametrize("transport", ["embedded", "rabbitmq"])
def test_a_due_task_that_nobody_knows_is_buried_and_the_others_run(
    run: Run, transport: str
) -> None:
    running = run(transport)
    have_due(running, STRANGER, TaskMessage("beside it", "ping"))
    wait_until(lambda: states(running) == {"stranger": "dead", "beside it": "done"})
    assert_buried(running)
    have_due(running, TaskMessage("after it", "ping"))
    wait_until(lambda: states(running)["after it"] == "done")


@pytest.mark.usefixtures("impatient_with_unknown_tasks")
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_sweep_buries_what_nobody_knows_too(run: Run, transport: str) -> None:
    running = run(transport)
    have_due(running, STRANGER)
    running.broker.publish_due()
    swept = sweep_mailboxes.send()
    wait_until(lambda: states(running) == {"stranger": "dead", swept.message_id: "done"})
    assert_buried(running)


def test_a_task_of_a_newer_version_waits_for_minutes_before_it_is_buried(run: Run) -> None:
    clock = FakeClock()
    running = run("eager", clock=clock)
    old = TaskMessage("old", "nobody_knows")
    with running.broker.database.transaction() as tx:
        outbox.add(tx, old, now=clock.now - timedelta(hours=1))
    for _ in range(20):
        running.broker.publish_due()
        assert (states(running), letters(running)) == ({"old": "queued"}, [])
        clock.advance(seconds=30)
    running.broker.publish_due()
    assert states(running) == {"old": "dead"}
    assert [letter.error_code for letter in letters(running)] == ["UNKNOWN_ACTOR"]


@pytest.mark.parametrize("transport", ["embedded", "rabbitmq"])
def test_a_message_of_a_newer_version_runs_where_that_version_is(
    run: Run, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("middleware.dead_letters.UNKNOWN_AGAIN", timedelta())
    running = run(transport)
    actor = running.broker.actors.pop("ping")
    running.broker.transmit([ping.message().copy(message_id="of tomorrow")], within_s=5)
    wait_until(lambda: states(running) == {"of tomorrow": "queued"})
    running.broker.actors["ping"] = actor
    wait_until(lambda: states(running) == {"of tomorrow": "done"})
    assert letters(running) == []


def test_a_round_that_fails_is_not_the_last(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    running = run("embedded")
    healthy, rounds = running.broker.publish_round, []

    def fail_once(limit: int) -> PublishRound:
        rounds.append(limit)
        if len(rounds) == 1:
            raise RuntimeError("nobody has thought of this")
        return healthy(limit)

    monkeypatch.setattr(running.broker, "publish_round", fail_once)
    wait_until(lambda: rounds)
    have_due(running, TaskMessage("after it", "ping"))
    wait_until(lambda: states(running) == {"after it": "done"})
    assert len(rounds) > 1


def test_a_message_that_the_transport_refuses_is_no_reason_to_look_again_at_once(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = run("embedded", work=False)
    have_due(running, TaskMessage("refused", "ping"))
    with monkeypatch.context() as full:
        full.setattr(
            running.broker, "transmit", lambda messages, within_s: PublishResult(failed=messages)
        )
        assert running.broker.publish_due() == 0
    assert running.broker.publish_due() == 1


def test_a_task_that_the_transport_refuses_when_it_is_sent_is_due_at_once(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = run("embedded", work=False)
    with monkeypatch.context() as lost:
        lost.setattr(
            running.broker, "transmit", lambda messages, within_s: PublishResult(failed=messages)
        )
        ping.send_with_options(task_id="refused")
    assert running.broker.publish_due() == 1
