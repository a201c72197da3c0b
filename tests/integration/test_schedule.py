"""Each tick of the schedule is one task."""

from collections.abc import Callable

import pytest

from actors.housekeeping import sweep_mailboxes
from mirt.store.stores import stores
from mirt.store.tables import tasks
from tests.integration.conftest import TRANSPORTS, Running


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_tick_that_two_schedulers_send_runs_once(
    run: Callable[..., Running], transport: str
) -> None:
    running = run(transport, work=False)
    for tick in (
        "2026-11-23T10:00:00+00:00",
        "2026-11-23T10:00:00+00:00",
        "2026-11-23T10:01:00+00:00",
    ):
        sweep_mailboxes.send_with_options(scheduled_at=tick)
    with stores(running.settings).database.transaction() as tx:
        ids = sorted(row.id for row in tx.execute(tasks.select()))
    assert ids == [
        "sweep_mailboxes@2026-11-23T10:00:00+00:00",
        "sweep_mailboxes@2026-11-23T10:01:00+00:00",
    ]
