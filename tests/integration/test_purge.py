"""A purge is no loss: the mailbox stays consistent, and a replay brings all of it back in order."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from actors.crm import create_crm_order
from actors.messages import send_response
from middleware.dead_letters import replay
from mirt.clock import utc_now
from mirt.runtime import current_runtime
from mirt.store.queue.dead_letters import DeadLetterFilter
from mirt.store.tables import conversations, inbox, tasks
from mirt.task_names import TaskName
from service.admin import purge
from service.dispatcher import dispatch_message
from service.processes.worker_main import start_worker
from tests.fakes import FakeServices, Status
from tests.integration.conftest import Running, dead_letters_of, rows
from tests.polling import wait_until

Run = Callable[..., Running]
TRANSPORTS = ("embedded", "rabbitmq")


def write(chat: str, *texts: str) -> None:
    for text in texts:
        sent = dispatch_message(chat, text, chat_id=chat, fire_and_forget=True)
        assert sent["queued"], sent


def bring_back(running: Running) -> int:
    return replay(
        running.broker, current_runtime().database, DeadLetterFilter(error_code="PURGED"), utc_now
    )


def states() -> dict[str, str]:
    return {row.text: row.state for row in rows(inbox)}


def heads() -> dict[str, Any]:
    return {row.session_id: row.head_task_id for row in rows(conversations)}


def heard(services: FakeServices) -> str:
    """Return the texts that the agent has heard, in order: it echoes them."""
    return " | ".join(services.sent("7"))


def work(running: Running) -> None:
    running.worker = start_worker(running.broker, queues={"llm", "webhooks", "crm"}, threads=4)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_preview_counts_what_the_purge_removes(run: Run, transport: str) -> None:
    running = run(transport, work=False)
    write("7", "перше", "друге")
    write("8", "третє")
    meant = purge.preview(current_runtime(), "llm")
    assert (meant.tasks, meant.conversations) == (2, 2)
    assert purge.purge(current_runtime(), "llm") == 2
    assert {one.error_code for one in dead_letters_of(running)} == {"PURGED"}
    assert heads() == {"7": None, "8": None}
    assert set(states().values()) == {"failed"}
    assert purge.preview(current_runtime(), "llm").tasks == 0


@pytest.mark.parametrize("debounce_s", [0, 30])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_replay_brings_head_and_those_behind_it_back_in_order_answered_once(
    run: Run, services: FakeServices, transport: str, debounce_s: float
) -> None:
    running = run(transport, work=False, debounce_seconds=debounce_s)
    write("7", "перше", "друге", "третє")
    assert purge.purge(current_runtime(), "llm") == 1
    work(running)
    assert bring_back(running) == 1
    wait_until(lambda: set(states().values()) == {"answered"} and heads() == {"7": None})
    asked = [text for text in ("перше", "друге", "третє") if heard(services).count(text) == 1]
    assert asked == ["перше", "друге", "третє"]
    assert (
        heard(services).index("перше")
        < heard(services).index("друге")
        < heard(services).index("третє")
    )
    assert len(services.sent("7")) == 1
    assert bring_back(running) == 0


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_mail_between_purge_and_replay_is_answered_too_and_once(
    run: Run, services: FakeServices, transport: str
) -> None:
    running = run(transport, work=False)
    write("7", "перше", "друге")
    purge.purge(current_runtime(), "llm")
    write("7", "нове")
    assert bring_back(running) == 1
    write("7", "найновіше")
    work(running)
    wait_until(lambda: set(states().values()) == {"answered"})
    wait_until(lambda: heads() == {"7": None})
    for text in ("перше", "друге", "нове", "найновіше"):
        assert states()[text] == "answered"
    said = heard(services)
    assert said.index("перше") < said.index("друге")
    assert said.index("нове") < said.index("найновіше")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_mail_behind_a_reply_that_is_not_delivered_yet_comes_back_too(
    run: Run, services: FakeServices, transport: str
) -> None:
    services.misbehave("telegram", Status(500), times=None)
    running = run(transport, retry_base_seconds=60)
    write("7", "перше")
    wait_until(lambda: states() == {"перше": "answered"} and _cooldowns(running))
    write("7", "друге", "третє")
    running.stop()
    assert purge.purge(current_runtime(), "llm") == 1
    assert states() == {"перше": "answered", "друге": "failed", "третє": "failed"}
    services.mend("telegram")
    current_runtime().close()
    running = run(transport)
    assert bring_back(running) == 1
    wait_until(lambda: set(states().values()) == {"answered"})
    wait_until(lambda: heads() == {"7": None})
    assert len(services.sent("7")) == 2
    assert "перше" in services.sent("7")[0]
    assert "друге" in services.sent("7")[1]
    assert len(services.requests("llm")) == 2, "the first had been answered before"


def test_a_replay_ends_though_what_it_replays_fails_again_at_once(
    run: Run, services: FakeServices
) -> None:
    services.misbehave(
        "telegram",
        Status(400, {"ok": False, "description": "Bad Request: chat not found"}),
        times=None,
    )
    running = run("eager")
    for chat in range(120):
        send_response.send("telegram", str(chat), "hello")
    assert replay(running.broker, current_runtime().database, DeadLetterFilter(), utc_now) == 120
    assert len(services.requests("telegram")) == 240


def test_an_order_that_is_purged_is_said_to_have_failed_and_comes_back(run: Run) -> None:
    running = run("embedded", work=False)
    create_crm_order.send({"external_id": "o1"})
    assert purge.purge(current_runtime(), "crm") == 1
    assert bring_back(running) == 1
    assert dead_letters_of(running) == []


def _cooldowns(running: Running) -> bool:
    return [row.state for row in rows(tasks) if row.actor == TaskName.PROCESS_AND_RESPOND] == [
        "delayed"
    ]


def test_a_purge_takes_batch_after_batch_and_leaves_what_runs(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("middleware.purge.BATCH", 2)
    run("embedded", work=False)
    for chat in range(1, 7):
        write(str(chat), "перше")
    with current_runtime().database.transaction() as tx:
        first = tx.execute(select(tasks.c.id).limit(1)).scalar_one()
        tx.execute(tasks.update().where(tasks.c.id == first).values(state="running", owner="one"))
    assert purge.purge(current_runtime(), "llm") == 5
    assert [row.state for row in rows(tasks)].count("running") == 1
    assert [row.state for row in rows(tasks)].count("dead") == 5
