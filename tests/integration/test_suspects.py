"""A task whose runs did not end is a suspect: its last start is counted only when it is alone."""

from collections.abc import Callable
from datetime import timedelta
from itertools import groupby

from sqlalchemy import Connection, event, select

from actors.messages import send_response
from middleware.envelopes import to_task
from mirt.clock import utc_now
from mirt.store import leases
from mirt.store.tables import tasks
from tests.fakes import FakeWorld
from tests.integration.conftest import Running

Run = Callable[..., Running]


def killed_twice(running: Running, chat: str) -> None:
    """Leave a message as two workers do that died while they ran it."""
    task = to_task(send_response.message("telegram", chat, "hello"))
    for _ in range(2):
        with running.broker.database.transaction() as tx:
            died = utc_now() - timedelta(minutes=1)
            assert leases.claim(tx, task, owner="dead", now=died, lease=timedelta())


def test_until_it_is_alone_its_last_start_is_at_no_moment_counted(
    run: Run, world: FakeWorld
) -> None:
    running = run("eager")
    killed_twice(running, "7")
    counted: list[int] = []

    def note(connection: Connection) -> None:
        counted.append(connection.execute(select(tasks.c.starts)).scalar_one())

    event.listen(running.broker.database.engine, "commit", note)
    running.broker.publish_due()
    assert world.sent("7") == ["hello"]
    assert [starts for starts, _ in groupby(counted)] == [2, 3, 0]
