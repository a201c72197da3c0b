"""A task whose runs did not end is a suspect: its last start is counted only when it is alone."""

from collections.abc import Callable
from datetime import timedelta
from itertools import groupby

from sqlalchemy import Connection, event, select

from actors.messages import send_response
from middleware.envelopes import to_task
from mirt.clock import utc_now
from mirt.store.queue import leases
from mirt.store.tables import tasks
from service.processes.worker_main import stop_worker
from tests.fakes import FakeServices
from tests.integration.conftest import Running
from tests.polling import wait_until

Run = Callable[..., Running]


def killed_twice(running: Running, chat: str) -> None:
    """Leave a message as two workers do that died while they ran it."""
    task = to_task(send_response.message("telegram", chat, "hello"))
    for _ in range(2):
        with running.broker.database.transaction() as tx:
            died = utc_now() - timedelta(minutes=1)
            assert leases.claim(tx, task, owner="dead", now=died, duration=timedelta())


def of_chat(running: Running, chat: str) -> tuple[str, int, int]:
    """State, fence and unfinished starts of the task that writes to a chat."""
    with running.broker.database.transaction() as tx:
        [row] = [row for row in tx.execute(tasks.select()) if row.kwargs["chat_id"] == chat]
    return row.state, row.fence, row.starts


def test_until_it_is_alone_its_last_start_is_at_no_moment_counted(
    run: Run, services: FakeServices
) -> None:
    running = run("eager")
    killed_twice(running, "7")
    counted: list[int] = []

    def note(connection: Connection) -> None:
        counted.append(connection.execute(select(tasks.c.starts)).scalar_one())

    event.listen(running.broker.database.engine, "commit", note)
    running.broker.publish_due()
    assert services.sent("7") == ["hello"]
    assert [starts for starts, _ in groupby(counted)] == [2, 3, 0]


def test_a_suspect_that_waits_to_be_alone_does_not_begin_when_its_worker_stops(
    run: Run, services: FakeServices
) -> None:
    running = run("embedded")
    assert running.worker is not None
    services.latency["telegram"] = 1
    send_response.send("telegram", "8", "hello")
    wait_until(lambda: services.requests("telegram"))
    killed_twice(running, "7")
    running.broker.publish_due()
    # Claimed a third time, and given back: it waits for the other.
    wait_until(lambda: of_chat(running, "7") == ("queued", 3, 2))
    stop_worker(running.worker, grace_s=10)
    assert (services.sent("8"), services.sent("7")) == (["hello"], [])
    assert of_chat(running, "7") == ("queued", 3, 2)


def test_copies_that_have_nothing_to_do_keep_no_suspect_from_its_last_start(
    run: Run, services: FakeServices
) -> None:
    running = run("embedded")
    done = send_response.send_with_options(args=("telegram", "6", "once"), task_id="done")
    wait_until(lambda: of_chat(running, "6")[0] == "done")
    running.broker.transmit([done] * 3, within_s=1)
    wait_until(lambda: running.broker.queues["webhooks"].unfinished_tasks == 0)
    killed_twice(running, "7")
    running.broker.publish_due()
    wait_until(lambda: services.sent("7"))
    send_response.send("telegram", "8", "hello")
    wait_until(lambda: services.sent("8"))
    assert services.sent("6") == ["once"]
