"""The pump of the outbox outlives what it finds in it, and publishes the rest."""

from collections.abc import Callable
from typing import Any

import pytest

from actors.housekeeping import sweep_mailboxes
from broker.durable import PublishResult, PublishRound
from mirt.clock import utc_now
from mirt.store.queue import outbox
from mirt.store.queue.tasks import TaskMessage
from mirt.store.tables import dead_letters, tasks
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


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_sweep_buries_what_nobody_knows_too(run: Run, transport: str) -> None:
    running = run(transport)
    have_due(running, STRANGER)
    swept = sweep_mailboxes.send()
    wait_until(lambda: states(running) == {"stranger": "dead", swept.message_id: "done"})
    assert_buried(running)


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
